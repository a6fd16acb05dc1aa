"""The folder in which workers meet, the log lines, and how answers leave."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crm.errors import CrmError
from crm.logs import JsonFormatter
from crm.serve import prepare
from crm.settings import STOPPING
from stacks.paths import ROOT
from tests.app.conftest import app_file
from tests.live.ports import free_port
from tests.live.waiting import wait_until


def test_prepare_leaves_no_counter_of_an_earlier_run(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("counter_7.db", STOPPING):
        (folder / name).touch()
    prepare(folder)
    assert list(folder.iterdir()) == []


def test_prepare_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CrmError, match="PROMETHEUS_MULTIPROC_DIR"):
        prepare(tmp_path / "file" / "metrics")


def test_log_line_is_one_json_object() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        caught = sys.exc_info()
    record = logging.LogRecord("crm", logging.INFO, "", 0, "a\nb %s", ("c",), caught)
    record.fields = {"request_id": "7"}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["request_id"], found["level"]) == ("a\nb c", "7", "info")
    assert "ValueError" in found["exception"]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port at which ``python3 -m crm serve`` answers."""
    port = free_port()
    told = {**app_file(), "server": {"workers": 1, "threads": 2, "port": port}}
    (folder / "app.json").write_text(json.dumps(told))
    for name in ("database_app_password", "cache_password"):
        (folder / name).write_text("canary\n")
    environment = {
        **os.environ,
        "CRM_CONFIG": str(folder / "app.json"),
        "CRM_SECRETS": str(folder),
        "CRM_INSTANCE": "app-1",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "shared"),
    }
    with (folder / "said").open("wb") as said:
        command = [sys.executable, "-m", "crm", "serve"]
        process = subprocess.Popen(
            command, cwd=ROOT / "app", env=environment, stdout=said, stderr=said
        )

    def answers() -> bool:
        assert process.poll() is None, (folder / "said").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, "it answers", 60)
        yield port
    finally:
        process.kill()
        process.wait()


def pieces(port: int, path: str) -> list[bytes]:
    """An answer as it arrives: what one system call writes here is what one reads."""
    request = f"GET {path} HTTP/1.1\r\nHost: crm\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request.encode())
        return list(iter(lambda: connection.recv(1 << 20), b""))


def test_answer_leaves_in_one_piece_or_not_at_all(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        for path in ("/static/crm.css", "/healthz", "/metrics", "/nothing"):
            for _ in range(10):
                (answer,) = pieces(port, path)
                head, _, body = answer.partition(b"\r\n\r\n")
                assert f"content-length: {len(body)}".encode() in head
                assert len(body) > 10
