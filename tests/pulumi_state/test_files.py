"""The state's files: whole at every instant, for nobody else, one run at a time."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.pulumi_state.files import Store

WRITER = """
import os, signal, sys
from pathlib import Path
from stacks.pulumi_state import files as store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

place = sys.argv[2]
if place == "before fsync":
    os.fsync = die
elif place == "before rename":
    Path.replace = die
elif place == "after rename":
    replace = Path.replace
    Path.replace = lambda *a: (replace(*a), die())
store.Store(Path(sys.argv[1]), "test").write({"new": "x" * 100_000})
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [("before fsync", "old"), ("before rename", "old"), ("after rename", "new")],
)
def test_killed_write_leaves_one_whole_state(tmp_path: Path, place: str, expected: str) -> None:
    store = Store(tmp_path, "test")
    store.write({"old": "x" * 100_000})
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), place], cwd=ROOT)
    assert killed.returncode == -9
    assert list(store.read()) == [expected]
    store.write({"later": 1})
    assert store.read() == {"later": 1}


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", "test")
    with store.locked():
        store.write({})
        store.claim()
    for path in (tmp_path / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "state" / ".pulumi" / "meta.yaml").read_text() == "version: 1\n"


def test_second_run_is_refused_with_the_process_that_runs(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from stacks.pulumi_state.files import Store\n"
        "with Store(Path(sys.argv[1]), 'test').locked(): print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(CrmError, match=f"test: process {holder.pid} is changing this stack"),
            Store(tmp_path, "test").locked(),
        ):
            pass
        holder.kill()
    with Store(tmp_path, "test").locked():
        pass  # the kernel freed it


def test_lock_of_the_cli_is_respected(tmp_path: Path) -> None:
    lock = tmp_path / ".pulumi/locks/organization/crm/test/0b1c.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": 1, "username": "u", "hostname": "h", "timestamp": "t"}))
    with (
        pytest.raises(CrmError, match=r"locked by a run of the Pulumi CLI \(u on h, process 1\)"),
        Store(tmp_path, "test").locked(),
    ):
        pass


def test_lock_of_a_killed_cli_is_told_from_one_that_is_held(tmp_path: Path) -> None:
    lock = tmp_path / ".pulumi/locks/organization/crm/test/0b1c.json"
    lock.parent.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as holder:
        held = {"pid": holder.pid, "username": "u", "hostname": socket.gethostname()}
        lock.write_text(json.dumps(held))
        with pytest.raises(CrmError, match=f"process {holder.pid}"):
            Store(tmp_path, "test").refuse_cli_locks(killed=True)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        # It has ended, but its process id is taken as long as nobody asks how.
        Store(tmp_path, "test").refuse_cli_locks(killed=True)
        with (
            pytest.raises(CrmError, match="it was killed; to go on: crm up test --engine pulumi"),
            Store(tmp_path, "test").locked(),
        ):
            pass


def test_what_a_killed_cli_was_writing_is_dropped(tmp_path: Path) -> None:
    """Seen after kills of pulumi 3.260: an empty sidecar fails its next run with ``EOF``."""
    store = Store(tmp_path, "test")
    locks = tmp_path / ".pulumi/locks/organization/crm/test"
    locks.mkdir(parents=True)
    store.write({"latest": None})
    folder = store.checkpoint.parent
    kept = {folder / "test.json", folder / "test.json.bak.attrs", folder / "tests.json.18ea.tmp"}
    for path in kept - {store.checkpoint}:
        path.write_text("{}")
    gone = {folder / "test.json.attrs", folder / "test.json.18ea.tmp", locks / "0b1c.json.18ea.tmp"}
    for path in gone:
        path.touch()
    store.drop_empty_sidecars()
    assert not (folder / "test.json.attrs").exists()
    store.drop_unfinished()
    assert {path for path in kept if path.exists()} == kept
    assert {path for path in gone if path.exists()} == set()
    assert store.read() == {"latest": None}


def test_claim_names_the_command_that_hands_over(tmp_path: Path) -> None:
    store = Store(tmp_path, "test")
    store.claim()
    claim = json.loads(
        (tmp_path / ".pulumi/locks/organization/crm/test/crm-embedded.json").read_text()
    )
    assert "crm handover test --to pulumi" in claim["username"]
    assert time.strptime(claim["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    store.release()
    assert not list(tmp_path.rglob("crm-embedded.json"))
