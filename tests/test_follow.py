"""What runs beside mysqld: it takes up what is new, once it is whole, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks import plan, render, stack_file
from tests.live.waiting import wait_until

SECRETS = {
    **{"database_app_password": "first'\\", "database_owner_password": "o"},
    **{f"database_tls_{name}": name for name in ("ca", "certificate", "key")},
}


class Follower:
    """The rendered script in a folder of its own, with a client that writes down what it is told
    and fails while there is a file ``refuse``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("secrets", "run", "bin"):
            (folder / name).mkdir()
        for name, text in SECRETS.items():
            (folder / "secrets" / name).write_text(text)
        script = render.Renderer().tree(plan.make("dev", stack_file.parse({}, "dev")))
        text = script["mysql/follow.sh"]
        for old, new in (
            ("/etc/crm/secrets", f"{folder}/secrets"),
            ("/run/crm", f"{folder}/run"),
            ("sleep 10", "sleep 0.1"),
            ("sleep 1 ", "sleep 0.2 "),
            ("+ 3600)", "+ 2)"),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "follow.sh").write_text(text)
        client = folder / "bin/mysql"
        client.write_text(
            f"#!/bin/sh\nif [ -e {folder}/refuse ]; then cat >>{folder}/refused; exit 1; fi\n"
            f"cat >>{folder}/told\n"
        )
        client.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        (self.folder / "secrets" / name).write_text(text)

    def marks(self) -> dict[str, str]:
        """What it takes for known."""
        return {path.name: path.read_text() for path in (self.folder / "run/seen").iterdir()}

    @property
    def told(self) -> list[str]:
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith("SET SESSION ")]

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        path = f"{self.folder}/bin:/usr/bin:/bin"
        command = ["sh", str(self.folder / "follow.sh"), *words]
        return subprocess.Popen(command, env={"PATH": path}, stdout=subprocess.DEVNULL)


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    made = Follower(tmp_path)
    assert made.start("seen").wait(30) == 0
    running = made.start()
    yield made
    running.terminate()
    running.wait(10)
    shutil.rmtree(tmp_path)


FIRST = "ALTER USER 'crm_app'@'%' IDENTIFIED BY 'se''cond\\\\' RETAIN CURRENT PASSWORD;"
THEN = "ALTER USER 'crm_app'@'%' DISCARD OLD PASSWORD;"


def test_changed_password_is_taken_up_and_the_old_one_goes_later(follower: Follower) -> None:
    follower.write("database_app_password", "se'cond\\")
    wait_until(lambda: follower.told[:1] == [FIRST], "the new one is told", 30)
    wait_until(lambda: follower.told == [FIRST, THEN], "the old one is discarded", 30)


def test_what_the_server_refuses_is_tried_again(follower: Follower) -> None:
    before, refused = follower.marks(), follower.folder / "refused"
    assert set(before) == {"tls", "app_password", "owner_password"}
    (follower.folder / "refuse").touch()
    follower.write("database_tls_certificate", "another")
    follower.write("database_app_password", "se'cond\\")

    def both_twice() -> bool:
        text = refused.read_text() if refused.exists() else ""
        return min(text.count("RELOAD"), text.count("RETAIN")) >= 2

    wait_until(both_twice, "both are refused, and tried again", 30)
    assert follower.marks() == before
    (follower.folder / "refuse").unlink()
    wait_until(lambda: len(follower.told) >= 2, "both are told", 30)
    assert sorted(follower.told[:2]) == ["ALTER INSTANCE RELOAD TLS;", FIRST]


def test_empty_password_is_none(follower: Follower) -> None:
    before = follower.marks()
    follower.write("database_app_password", "")
    follower.write("database_owner_password", "n")
    wait_until(lambda: follower.marks() != before, "the other one is taken up", 30)
    time.sleep(0.5)
    assert not [line for line in follower.told if "crm_app" in line]
    assert [line for line in follower.told if "'crm_owner'" in line and "'n'" in line]


@pytest.mark.parametrize("lacks", ["root", "app", "owner", None])
def test_server_does_not_start_without_a_password(tmp_path: Path, lacks: str | None) -> None:
    script = render.Renderer().tree(plan.make("dev", stack_file.parse({}, "dev")))["mysql/start.sh"]
    guard = script.partition("# An account with an empty")[2].partition("secret() {")[0]
    for name in ("root", "app", "owner"):
        (tmp_path / f"database_{name}_password").write_text("" if name == lacks else "p")
    guard = f"#{guard}".replace("/etc/crm/secrets", str(tmp_path))
    done = subprocess.run(["sh", "-euc", guard], capture_output=True, text=True, check=False)
    assert done.returncode == (0 if lacks is None else 1)
    assert (f"database_{lacks}_password: is empty" in done.stderr) is (lacks is not None)


def test_what_did_not_change_is_left_alone(follower: Follower) -> None:
    follower.write("database_owner_password", SECRETS["database_owner_password"])
    follower.write("database_tls_key", "another")
    wait_until(lambda: bool(follower.told), "the certificate is told", 30)
    # By the next one it has looked at everything once more.
    follower.write("database_tls_key", "a third")
    wait_until(lambda: len(follower.told) >= 2, "the next one is told", 30)
    assert follower.told == ["ALTER INSTANCE RELOAD TLS;"] * 2
