"""Copies of backups in a bucket of a real server, and a machine that is lost with all it had."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from stacks import plan, render, stack_file
from stacks.paths import ROOT
from stacks.tiers import offsite as tier
from tests.live import own, places
from tests.live.stack import Stack, prepare
from tests.live.waiting import wait_until
from tests.s3.server import Server

pytestmark = pytest.mark.live

CATCH_UP_SECONDS = 60
UUID = "11111111-1111-1111-1111-111111111111"
BACKUP = """\
    backup:
      every_hours: 24
      s3:
        bucket: {bucket}
        prefix: crm/dev
        endpoint: {endpoint}
        access_key_id: {{env: CRM_S3_ID}}
        secret_access_key: {{env: CRM_S3_SECRET}}
        ca_certificate: {{file: {authority}}}
"""


def until(what: Callable[[], bool], seconds: float = CATCH_UP_SECONDS) -> None:
    wait_until(what, "it is copied, or said", seconds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that containers reach."""
    found = Server(tmp_path_factory.mktemp("s3"), own.gateway())
    found.start()
    yield found
    found.stop()


# --- The copier by itself, as its container runs it ----------------------------------------------


class Copier:
    """``python3 -m crm offsite`` over a folder of its own. What it is told is what the platform
    renders, with shorter times."""

    def __init__(self, server: Server, folder: Path, **changes: object) -> None:
        s3 = {
            "bucket": server.bucket,
            "prefix": folder.name,
            "endpoint": server.endpoint,
            "access_key_id": {"env": "A"},
            "secret_access_key": {"env": "B"},
            "ca_certificate": {"env": "C"},
        }
        config = {"database": {"backup": {"s3": s3}}}
        tree = render.Renderer().tree(plan.make("dev", stack_file.parse(config, "dev")))
        told = {"every_seconds": 1, "overdue_seconds": 2, **changes}
        self._server = server
        self.folder = folder
        self.objects = server.objects / folder.name / "database-1"
        for name in ("data", "state", "secrets"):
            (folder / name).mkdir()
        file = json.loads(tree["backup/offsite.json"]) | told
        (folder / "offsite.json").write_text(json.dumps(file))
        self.secret("backup_s3_access_key_id", server.key_id)
        self.secret("backup_s3_secret_access_key", server.secret)
        self.secret("backup_s3_ca", server.authority.read_text())

    def secret(self, name: str, value: str) -> None:
        (self.folder / "secrets" / name).write_text(value)

    def backup(self, name: str) -> None:
        folder = self.folder / "data" / "backups" / name
        folder.mkdir(parents=True)
        texts = {
            "dump.sql.gz": "rows",
            "manifest.json": json.dumps({"server_uuid": UUID, "binlog": "binlog.000001"}),
        }
        for file, text in texts.items():
            (folder / file).write_text(text)
        sums = [f"{hashlib.sha256(t.encode()).hexdigest()}  {f}\n" for f, t in texts.items()]
        (folder / "SHA256SUMS").write_text("".join(sums))

    @property
    def log(self) -> Path:
        path = self.folder / "data" / "binlogs" / UUID / "binlog.000001"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def health(self) -> tuple[int, str]:
        """What its container's health check would come to."""
        script = tier.WELL.replace("/run/crm", str(self.folder / "state"))
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    @contextmanager
    def running(self) -> Iterator[None]:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "CRM_SHARD": "database-1",
            "CRM_CONFIG": str(self.folder / "offsite.json"),
            "CRM_SECRETS": str(self.folder / "secrets"),
            "CRM_STATE": str(self.folder / "state"),
            "CRM_DATA": str(self.folder / "data"),
        }
        with (self.folder / "said").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "crm", "offsite"],
                cwd=ROOT / "app",
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(10) == 0, self.said


def test_server_that_was_away_has_all_of_it_soon_after_it_is_back(
    server: Server, tmp_path: Path
) -> None:
    copier = Copier(server, tmp_path)
    first, second = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    copier.backup(first)
    copier.log.write_text("one")
    piece = copier.objects / "binlogs" / UUID / f"binlog.000001.from-{3:015}"
    with copier.running():
        until(lambda: (copier.objects / "backups" / first / "SHA256SUMS").is_file())
        until(lambda: copier.health()[0] == 0)
        server.stop()
        try:
            copier.backup(second)
            copier.log.write_text("one and two")
            says = "does not answer: Connection refused"
            until(lambda: copier.health()[0] == 1 and says in copier.health()[1])
            assert says in copier.said
        finally:
            server.start()
        until(lambda: (copier.objects / "backups" / second / "SHA256SUMS").is_file())
        until(piece.is_file)
        assert piece.read_text() == " and two"
        until(lambda: copier.health()[0] == 0)
        metrics = copier.folder / "data" / "metrics" / "offsite.prom"
        until(lambda: 'crm_offsite_backups{shard="database-1"} 2\n' in metrics.read_text())
        success = 'crm_offsite_last_success_timestamp_seconds{shard="database-1",of="binlogs"} '
        until(lambda: success in metrics.read_text())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("secret", "refuses the access key (SignatureDoesNotMatch); see where access_key_id"),
        ("bucket", "there is no such bucket; make it, or correct crm:database.backup.s3.bucket"),
        ("authority", "its certificate is not accepted"),
    ],
)
def test_what_is_wrong_is_said_and_local_backups_stay_as_they_are(
    server: Server, tmp_path: Path, wrong: str, says: str
) -> None:
    changes: dict[str, object] = {"bucket": "crm-nothing"} if wrong == "bucket" else {}
    changes |= {"ca": False} if wrong == "authority" else {}
    copier = Copier(server, tmp_path, **changes)
    if wrong == "secret":
        copier.secret("backup_s3_secret_access_key", "wrong-and-secret")
    copier.backup("2026-01-01T00:00:00Z")
    copier.log.write_text("one")

    def kept() -> dict[str, bytes]:
        found = (copier.folder / "data").rglob("*")
        return {str(p): p.read_bytes() for p in found if p.is_file() and "offsite" not in p.parts}

    before = kept()
    with copier.running():
        until(lambda: copier.health()[0] == 1 and says in copier.health()[1])
    assert says in copier.said
    assert "wrong-and-secret" not in copier.said
    assert server.secret not in copier.said
    assert kept() == before
    assert not copier.objects.exists()


def test_server_that_was_set_back_is_said_until_there_is_another_prefix(
    server: Server, tmp_path: Path
) -> None:
    copier = Copier(server, tmp_path)
    copier.backup("2026-01-01T00:00:00Z")
    copier.log.write_text("begun on Monday")
    piece = copier.objects / "binlogs" / UUID / f"binlog.000001.from-{0:015}"
    with copier.running():
        until(piece.is_file)
        until(lambda: copier.health()[0] == 0)
    copier.log.write_text("begun on Friday, and more")
    with copier.running():
        until(lambda: copier.health()[0] == 1 and "was set back" in copier.health()[1])
    assert [path.read_text() for path in piece.parent.iterdir()] == ["begun on Monday"]
    file = json.loads((tmp_path / "offsite.json").read_text())
    other = f"{file['prefix']}-2"
    (tmp_path / "offsite.json").write_text(json.dumps(file | {"prefix": other}))
    with copier.running():
        moved = server.objects / other / piece.relative_to(server.objects / file["prefix"])
        until(moved.is_file)
        until(lambda: copier.health()[0] == 0)
    assert moved.read_text() == "begun on Friday, and more"


# --- A stack -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Stack]:
    """``dev`` with a copy of its backups in the server's bucket."""
    found = prepare(tmp_path_factory.mktemp("offsite") / "project", "dev")
    asked = BACKUP.format(
        bucket=server.bucket, endpoint=server.endpoint, authority=server.authority
    )
    found.edit("  crm:database:\n", f"  crm:database:\n{asked}")
    patch = pytest.MonkeyPatch()
    patch.setenv("CRM_S3_ID", server.key_id)
    patch.setenv("CRM_S3_SECRET", server.secret)
    try:
        found.up()
        yield found
    finally:
        found.crm("destroy", "--yes", "--delete-data")
        patch.undo()


def of_shard(server: Server) -> set[str]:
    start = "crm/dev/database-1/"
    return {name.removeprefix(start) for name in server.names() if name.startswith(start)}


def end_log(stack: Stack) -> str:
    """Have the server begin another binary log; the name in the bucket of the one before."""
    uuid = stack.sql("database-1", "SELECT @@server_uuid")[0][0]
    log = stack.sql("database-1", "SHOW BINARY LOG STATUS")[0][0]
    stack.sql("database-1", "FLUSH BINARY LOGS")
    return f"binlogs/{uuid}/{log}"


def test_lost_machine_has_its_rows_back_from_the_bucket(stack: Stack, server: Server) -> None:
    stack.sql("database-1", "INSERT INTO users VALUES (1, 'Ada', 'a@x', 'admin', DEFAULT)")
    (made,) = stack.run("backup")["shards"]
    until(lambda: f"backups/{made['taken']}/SHA256SUMS" in of_shard(server))
    # What was followed as it grew and what the keeper fetches whole begin alike, or it would be
    # taken for the log of a server that was set back.
    until(lambda: any(".from-" in name for name in of_shard(server)))
    stack.container("backup-1").restart()
    # After the backup: this one is in the binary log alone.
    stack.sql("database-1", "INSERT INTO users VALUES (2, 'Bo', 'b@x', 'user', DEFAULT)")
    log = end_log(stack)
    until(lambda: log in of_shard(server))
    assert stack.container("offsite-1").attrs["State"]["Health"]["Status"] == "healthy"
    assert "error" not in stack.container("offsite-1").logs().decode()

    secret = {"id": server.key_id, "secret": server.secret}
    assert not places.found(places.docker_says(stack.name), secret)
    state = stack.project.root / ".crm" / "state"
    assert not places.found(places.files(state), secret)
    top = (
        docker.from_env()
        .containers.get(f"crm-{stack.name}-offsite-1")
        .top(ps_args="axww -o pid,args")
    )
    assert server.secret not in json.dumps(top)

    time.sleep(1.1)
    before = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    in_bucket = of_shard(server)
    assert stack.crm("destroy", "--yes", "--delete-data").code == 0
    assert not any(stack.objects().values()), "all is gone, volumes too"
    stack.up()
    assert stack.sql("database-1", "SELECT COUNT(*) FROM users") == [["0"]]

    until(lambda: b"binary logs are back" in stack.container("offsite-1").logs())
    listed = json.loads(stack.crm("backups", "--json").out)["backups"]
    assert made["taken"] in {backup["taken"] for backup in listed}
    stack.run("restore", "--to", before, "--yes")
    assert stack.sql("database-1", "SELECT name FROM users ORDER BY id") == [["Ada"], ["Bo"]]
    # Nothing was removed there for the loss here, and what is new is there too.
    whole = {name for name in in_bucket if not name.partition(".from-")[1]}
    until(lambda: whole < of_shard(server))
