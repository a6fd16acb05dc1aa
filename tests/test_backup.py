"""Backups: what a stack file may ask for, what follows, what is rendered, what is refused."""

from __future__ import annotations

import subprocess
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from stacks import backups, cli, manifests, plan, render, stack_file, tiers
from stacks.errors import CrmError
from stacks.plan import Plan
from stacks.targets import docker_host
from stacks.targets.backup_place import End, Manifest, Place, Rebuilt
from stacks.targets.docker_backups import DockerPlace
from stacks.workload import Workload

SECRET = {"env": "CRM_PASSWORD"}


def planned(backup: dict[str, Any] | None, **database: Any) -> Plan:
    config = {"database": {**database, **({} if backup is None else {"backup": backup})}}
    return plan.make("dev", stack_file.parse(config, "dev"))


def workloads(of: Plan) -> dict[str, Workload]:
    listed = tiers.workloads(of, render.Renderer().tree(of), "crm-app:0")
    return {workload.name: workload for workload in listed}


def settings(of: Plan) -> dict[str, str]:
    return {setting.name: setting.value for setting in of.database.settings}


def test_stack_without_backups_has_nothing_of_them() -> None:
    of = planned(None)
    assert of.database.backup is None
    assert "backup" not in workloads(of)
    assert "database_backup_password" not in of.secrets
    assert "log_bin" not in settings(of)
    tree = render.Renderer().tree(of)
    assert not [name for name in tree if name.startswith("backup/")]
    assert "crm_backup" not in tree["mysql/start.sh"]


def test_each_shard_is_backed_up_into_a_protected_volume_of_its_own() -> None:
    found = workloads(planned({"storage_gib": 30}, shards=3))["backup"]
    assert [i.env["CRM_HOST"] for i in found.instances] == [
        "database-1",
        "database-2",
        "database-3",
    ]
    volumes = [instance.data for instance in found.instances]
    assert [v.name for v in volumes if v] == ["backup-1", "backup-2", "backup-3"]
    assert all(v is not None and v.protect and v.size_gib == 30 for v in volumes)
    assert found.stop_first, "two of them would write the same files"


def test_backup_reaches_the_database_alone_and_knows_one_password() -> None:
    of = planned({})
    found = workloads(of)
    backup = found["backup"]
    assert backup.connects_to == ("database",)
    assert not backup.ports
    assert not backup.reaches_outside
    assert backup.secrets == ("database_backup_password", "database_tls_ca")
    assert "database_backup_password" in found["database"].secrets
    assert of.own_secrets.count("database_backup_password") == 1
    others = [w for name, w in found.items() if name not in ("backup", "database")]
    assert not any("database_backup_password" in workload.secrets for workload in others)


def test_account_reads_and_writes_nothing() -> None:
    script = render.Renderer().tree(planned({}))["mysql/start.sh"]
    grants = [line for line in script.splitlines() if line.startswith("GRANT") and "backup" in line]
    allowed = {
        *("SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "RELOAD", "REPLICATION CLIENT"),
        *("REPLICATION SLAVE", "BACKUP_ADMIN", "SHOW_ROUTINE"),
    }
    granted = {word.strip() for line in grants for word in line[6:].partition(" ON ")[0].split(",")}
    assert granted == allowed
    assert "IDENTIFIED BY $(secret backup) REQUIRE SSL" in script


@pytest.mark.parametrize(("hours", "days"), [(1, 7), (24, 7), (72, 9), (720, 90)])
def test_server_keeps_its_logs_until_they_are_archived(hours: int, days: int) -> None:
    found = settings(planned({"every_hours": hours}))
    assert found["binlog_expire_logs_seconds"] == str(days * 86400)
    assert found["log_bin"] == "binlog"


@pytest.mark.parametrize("name", ["log_bin", "binlog_expire_logs_seconds"])
def test_what_backups_need_cannot_be_set_otherwise(name: str) -> None:
    with pytest.raises(CrmError, match=rf"crm:database\.settings\.{name}: cannot be set"):
        planned({}, settings={name: "0"})
    planned(None, settings={name: "1"})


def test_times_follow_from_the_interval() -> None:
    backup = planned({"every_hours": 6, "keep": 3}).database.backup
    assert backup is not None
    assert (backup.every_seconds, backup.overdue_seconds, backup.keep) == (21600, 43200, 3)
    assert (backup.retry_seconds, backup.keep_seconds) == (300, 3 * 21600)


def test_folder_is_one_for_each_shard_of_each_stack() -> None:
    found = workloads(planned({"folder": "/srv/backups"}, shards=2))["backup"]
    folders = [instance.data.folder for instance in found.instances if instance.data]
    assert folders == ["/srv/backups/dev/backup-1", "/srv/backups/dev/backup-2"]
    config = {"target": "kubernetes", "database": {"backup": {"folder": "/srv/backups"}}}
    with pytest.raises(CrmError, match=r"choose where volumes are with kubernetes\.storage_class"):
        stack_file.parse(config, "dev")


def test_external_database_is_not_ours_to_back_up() -> None:
    external = {"host": "db.example", "password": SECRET, "owner_password": SECRET}
    with pytest.raises(CrmError, match=r"crm:database: .*leave `backup` out"):
        planned({}, external=external)


@pytest.mark.parametrize(
    ("backup", "key"),
    [
        ({"folder": "backups"}, "folder"),
        ({"keep": 1}, "keep"),
        ({"every_hours": 0}, "every_hours"),
        ({"every_day": 1}, "every_day"),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_key(backup: dict[str, Any], key: str) -> None:
    with pytest.raises(CrmError, match=rf"crm:database\.backup\.{key}"):
        planned(backup)


def test_service_cannot_take_the_name() -> None:
    config = {
        "edge": {"routes": [{"prefix": "/x", "service": "backup"}]},
        "services": {"backup": {"health_path": "/healthz"}},
    }
    with pytest.raises(CrmError, match="backup"):
        stack_file.parse(config, "dev")


def test_summary_counts_it_in() -> None:
    page = render.Renderer().tree(planned({}, shards=2))["summary.md"]
    assert "| backup | mysqldump | 2 | 0.5 | 128 |" in page
    assert "| backups | of each shard every 24 h, 7 kept, binary logs as they are written |" in page


def test_cluster_keeps_each_in_a_claim_and_lets_it_reach_the_shards() -> None:
    config = {"target": "kubernetes", "database": {"shards": 2, "backup": {"storage_gib": 5}}}
    of = plan.make("dev", stack_file.parse(config, "dev"))
    found = {m.key: m for m in manifests.manifests(of, list(workloads(of).values()))}
    assert found["backup-2"].object["kind"] == "StatefulSet"
    claim = found["backup-2-data"]
    assert claim.protect
    assert claim.object["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert "backup-to-database" in found
    assert "database-from-backup" in found


# --- What was restored ---------------------------------------------------------------------------


def test_answer_of_a_restore_is_told_from_how_it_ended() -> None:
    whole = "event 1767225600\nrows 12\npartitions 3\n"
    assert Rebuilt.of(whole, 0, 1.26, "") == Rebuilt("", 1.3, 1767225600)
    damaged = Rebuilt.of("problem binlog.000002 is damaged: it ends\n", 1, 1, "noise")
    assert damaged.problem == "binlog.000002 is damaged: it ends"
    assert Rebuilt.of("event 7\n", 137, 1, "") == Rebuilt(
        "it could not be restored (exit 137): it said nothing", 1, 7
    )


@pytest.mark.parametrize(
    ("there", "seconds", "runs_on"),
    [
        ("data made", 60, "restored"),
        ("data made", -1, "old"),  # nobody waits for it any more
        ("kept made", 60, "restored"),  # killed between the two moves
        ("kept data", 60, "old"),  # killed after them
        ("data made", None, "old"),  # made, and not asked for
    ],
)
def test_server_switches_itself_over_when_it_starts(
    tmp_path: Path, there: str, seconds: int | None, runs_on: str
) -> None:
    script = render.Renderer().tree(planned({}))["mysql/start.sh"].replace("/data", str(tmp_path))
    before_it_starts = script.partition("# Before they are read here")[0]
    kept, restored = tmp_path / "before-restore-x", tmp_path / "restored"
    folders = {"data": tmp_path / "mysql", "made": restored / "mysql", "kept": kept}
    restored.mkdir()
    for name in there.split():
        folders[name].mkdir()
        (folders[name] / "rows").write_text("restored" if name == "made" else "old")
    if seconds is not None:
        (restored / "switch").write_text(f"{kept.name} {int(time.time()) + seconds}\n")
    for _ in range(2):
        subprocess.run(["sh", "-c", before_it_starts], check=True, timeout=30)
        assert (tmp_path / "mysql" / "rows").read_text() == runs_on
        if runs_on == "restored":
            assert (kept / "rows").read_text() == "old"
            assert not restored.exists()


# --- Commands ------------------------------------------------------------------------------------


def asked(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], *arguments: str) -> str:
    """The sentence that a command on a stack of ``config`` is refused with."""
    spec = stack_file.parse(config, "dev")
    monkeypatch.setattr(stack_file, "load", lambda _stack: spec)
    with pytest.raises(CrmError) as caught:
        options = cli._parser().parse_args([arguments[0], "dev", *arguments[1:]])
        options.run(options)
    return str(caught.value)


VERBS = [("backup",), ("backups",), ("drill",), ("restore", "--to", "2026-01-01T00:00:00Z")]


@pytest.mark.parametrize("verb", VERBS)
def test_stack_without_backups_is_told_where_to_ask_for_them(
    monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    said = asked(monkeypatch, {}, *verb)
    assert said.startswith("stacks/config/Pulumi.dev.yaml: crm:database.backup: ")
    assert "backup: {every_hours: 24, keep: 7}" in said


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_shard_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    config = {"database": {"shards": 2, "backup": {}}}
    said = asked(monkeypatch, config, *verb, "--shard", "database-3")
    assert said.endswith("write one of database-1, database-2")


@pytest.mark.parametrize(
    "time",
    [
        *("yesterday", "2026-13-01", "9999-01-01T00:00:00Z"),
        # In UTC they would be past the calendar's end, and before its beginning.
        *("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"),
    ],
)
def test_time_that_is_none_or_yet_to_come_is_refused(
    monkeypatch: pytest.MonkeyPatch, time: str
) -> None:
    said = asked(monkeypatch, {"database": {"backup": {}}}, "restore", "--to", time)
    assert said.startswith(f"--to {time}: ")


@pytest.mark.parametrize(
    ("time", "chosen"),
    [
        ("2026-01-02T00:00:00Z", 1),
        ("2026-01-02T23:59:59", 1),
        ("2026-01-03T00:00:00+00:00", 2),
        ("2026-01-03T01:00:00+02:00", 1),
        ("2026-01-31T00:00:00Z", 3),
    ],
)
def test_restore_begins_at_the_newest_backup_before_its_time(time: str, chosen: int) -> None:
    found = [manifest(f"2026-01-0{day}T00:00:00Z") for day in (1, 2, 3, 4)]
    assert backups._before(found, backups._time(time), PLACE) == found[chosen]


def test_time_before_the_oldest_backup_is_refused_with_that() -> None:
    with pytest.raises(CrmError, match=r"of database-1 is of 2026-01-02T00:00:00Z; write a later"):
        backups._before(
            [manifest("2026-01-02T00:00:00Z")], backups._time("2026-01-01T23:59:59Z"), PLACE
        )
    with pytest.raises(CrmError, match=r"no backup yet; run: crm backup dev"):
        backups._before([], backups._time("2026-01-01T23:59:59Z"), PLACE)


def test_archive_is_behind_its_own_server_only() -> None:
    backup = manifest("2026-01-01T00:00:00Z")
    assert backups._behind(End("uuid", "binlog.000002", 500, 500), backup) == 0
    assert backups._behind(End("uuid", "binlog.000002", 500, 158), backup) == 342
    assert backups._behind(End("another", "binlog.000001", 500, 158), backup) is None


def test_answer_that_is_none_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("what is this", "uuid binlog.000001 many 4", "uuid binlog.000001 4 4 4"):
        monkeypatch.setattr(DockerPlace, "_ask", lambda *_, said=said: said)
        with pytest.raises(CrmError, match=f"database-1: does not say where its log ends: {said}"):
            PLACE.end()


def test_restore_wants_the_keeper_that_has_what_was_written_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(_: Place) -> Any:
        raise CrmError("dev: no container of `backup-1` runs here; run `crm up dev`")

    monkeypatch.setattr(DockerPlace, "keeper", away)
    with pytest.raises(CrmError, match=r"database-1: nothing was changed: .*run `crm up dev`"):
        backups._catch_up(PLACE, manifest("2026-01-01T00:00:00Z"), backups._time("2026-01-02"))


class Server:
    """A container that writes down what is done to it."""

    name = "crm-dev-database-1"

    def __init__(self) -> None:
        self.attrs = {"Config": {"StopTimeout": 7}, "State": {"Health": {"Status": "healthy"}}}
        self.done: list[str] = []

    def stop(self, timeout: int) -> None:
        self.done.append(f"stop {timeout}")

    def start(self) -> None:
        self.done.append("start")

    def reload(self) -> None:
        pass


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ConnectionResetError("gone"), CrmError),
        (CrmError("was not switched over"), CrmError),
        (None, None),
    ],
)
def test_server_runs_again_whatever_happens_in_the_switch(
    monkeypatch: pytest.MonkeyPatch,
    happens: BaseException | None,
    told: type[BaseException] | None,
) -> None:
    server = Server()

    def put_in_place(*_: object) -> None:
        assert server.done == ["stop 7"]
        if happens:
            raise happens

    monkeypatch.setattr(docker_host, "connect", lambda: None)
    monkeypatch.setattr(docker_host, "find", lambda *_: server)
    monkeypatch.setattr(DockerPlace, "_put_in_place", put_in_place)
    with pytest.raises(told) if told else nullcontext():
        PLACE.switch("before")
    assert server.done[-1] == "start"


PLACE: Place = DockerPlace(planned({}), "database-1", "backup-1", {})


def manifest(taken: str) -> Manifest:
    return Manifest("database-1", taken, "8.4.6", "uuid", "binlog.000001", 4, 1, 1, 1)
