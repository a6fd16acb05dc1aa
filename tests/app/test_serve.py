"""The folder in which workers meet, and the log lines."""

import json
import logging
import sys
from pathlib import Path

import pytest

from crm.errors import CrmError
from crm.logs import JsonFormatter
from crm.serve import prepare
from crm.settings import STOPPING


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
