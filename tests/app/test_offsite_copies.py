"""Copies of backups in a bucket: up, down and away again, in a store that is in memory."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from crm import offsite, offsite_bucket, offsite_down, offsite_logs
from crm.errors import CrmError
from crm.offsite import Copier
from crm.offsite_bucket import Bucket
from tests.app.offsite_keeper import NEW, NOW, OLD, Clock, Keeper, copy, settings, text, tree, up

# --- Up ------------------------------------------------------------------------------------------


def test_whole_backups_and_finished_logs_are_copied_and_a_second_time_nothing_is(
    bucket: Bucket, keeper: Keeper
) -> None:
    name = keeper.backup(1, 1)
    first, last = keeper.log(1, "one"), keeper.log(2, "two")
    up(bucket, keeper)
    wanted = {f"backups/{name}/{f}" for f in ("dump.sql.gz", "rows.tsv", "manifest.json")}
    wanted |= {f"backups/{name}/SHA256SUMS", first, f"{last}.from-{0:015}"}
    assert set(bucket.sizes()) == wanted
    writes: list[str] = []
    bucket.put = lambda name, *_: writes.append(name)  # type: ignore[method-assign]
    up(bucket, keeper)
    assert not writes


def test_backup_without_its_sums_is_not_there_yet(bucket: Bucket, keeper: Keeper) -> None:
    name = keeper.backup(1, 1)
    (keeper.root / "backups" / name / "SHA256SUMS").unlink()
    (keeper.root / "unfinished").mkdir()
    (keeper.root / "unfinished" / "dump.sql.gz").write_text("half")
    up(bucket, keeper)
    assert not bucket.sizes()


def test_sums_go_last_so_that_a_copy_that_broke_off_is_no_backup(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.backup(1, 1)
    put = bucket.put

    def breaks(name: str, content: Path | bytes, sha256: str) -> None:
        if name.endswith("manifest.json"):
            raise CrmError("the line is cut")
        put(name, content, sha256)

    bucket.put = breaks  # type: ignore[method-assign]
    with pytest.raises(CrmError, match="cut"):
        up(bucket, keeper)
    assert bucket.sizes()
    other = Keeper(tmp_path / "other")
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == {}
    bucket.put = put  # type: ignore[method-assign]
    up(bucket, keeper)
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == tree(keeper.root)


def test_log_that_grows_is_copied_in_pieces_and_whole_once_it_is_finished(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsite_logs, "CHUNK", 4)
    keeper.backup(1, 1)
    log = keeper.log(1, "abc")
    up(bucket, keeper)
    keeper.log(1, "abcdefghij")
    up(bucket, keeper)
    pieces = {n.rpartition("-")[2].lstrip("0"): text(bucket, n) for n in bucket.sizes() if log in n}
    assert pieces == {"": "abc", "3": "defg", "7": "hij"}
    keeper.log(1, "abcdefghijk")
    keeper.log(2, "x")
    up(bucket, keeper)
    assert [name for name in bucket.sizes() if log in name] == [log]
    assert text(bucket, log) == "abcdefghijk"


def test_damaged_backup_is_not_copied_and_keeps_back_no_other(
    bucket: Bucket, keeper: Keeper
) -> None:
    good, bad = keeper.backup(1, 1), keeper.backup(2, 1)
    (keeper.root / "backups" / bad / "dump.sql.gz").write_text("other rows")
    with pytest.raises(CrmError, match=rf"damaged, and not copied: {bad}/dump\.sql\.gz: "):
        copy(bucket, keeper)
    whole = {name.split("/")[1] for name in bucket.sizes() if name.endswith("SHA256SUMS")}
    assert whole == {good}


def test_what_is_read_back_is_compared(bucket: Bucket) -> None:
    with pytest.raises(CrmError, match="x is not what was sent"):
        bucket.put("x", b"rows", hashlib.sha256(b"other rows").hexdigest())
    assert not bucket.sizes(), "what is not right is not left there"


# --- Down ----------------------------------------------------------------------------------------


def test_all_comes_back_to_an_empty_volume_as_it_was(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.backup(1, 1)
    keeper.backup(2, 2)
    for number, content in enumerate(("one", "two", "three"), start=1):
        keeper.log(number, content)
    up(bucket, keeper)
    keeper.log(3, "three and more")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == tree(keeper.root)
    sums = ["sha256sum", "--check", "--strict", "--status", "SHA256SUMS"]
    for folder in (other.root / "backups").iterdir():
        assert subprocess.run(sums, cwd=folder, check=False).returncode == 0
    assert not (other.root / "offsite" / "incoming").exists()


def test_what_the_volume_has_stays_as_it_is(bucket: Bucket, keeper: Keeper, tmp_path: Path) -> None:
    keeper.backup(1, 1)
    keeper.log(1, "one")
    keeper.log(2, "two")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    own = other.backup(1, 1, NEW)
    log = other.log(1, "its own", NEW)
    known = other.log(1, "one, and longer")
    before = tree(other.root)
    offsite_down.bring_back(bucket, other.volume, print)
    after = tree(other.root)
    assert {name: after[name] for name in before} == before
    assert {own, log, known} and set(after) > set(before)


def test_backup_damaged_in_the_bucket_is_left_there_and_the_others_come(
    bucket: Bucket, keeper: Keeper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = keeper.backup(1, 1), keeper.backup(2, 1)
    keeper.log(1, "one")
    up(bucket, keeper)
    bucket.put(f"backups/{bad}/rows.tsv", b"x", hashlib.sha256(b"x").hexdigest())
    other = Keeper(tmp_path / "other")
    offsite_down.bring_back(bucket, other.volume, print)
    assert other.volume.backups() == [good]
    assert other.volume.logs() == keeper.volume.logs()
    assert f"{bad}/rows.tsv: its SHA-256 is not the one" in capsys.readouterr().out


def test_nothing_is_sent_to_a_volume_that_has_no_room_for_all_of_it(
    bucket: Bucket, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    keeper.log(1, "one")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    usage = shutil.disk_usage(tmp_path)._replace(free=sum(bucket.sizes().values()) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CrmError, match="0 MiB are to come back, and the volume has 0 MiB free"):
        offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == {}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=usage.free + 1))
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == tree(keeper.root)


def test_what_broke_off_on_its_way_back_leaves_nothing_and_is_begun_again(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    name = keeper.backup(1, 1)
    keeper.log(1, "one")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    chunks = bucket.chunks

    def breaks(name: str, size: int) -> Iterator[bytes]:
        if name.endswith("rows.tsv"):
            raise CrmError("the line is cut")
        yield from chunks(name, size)

    bucket.chunks = breaks  # type: ignore[method-assign]
    with pytest.raises(CrmError, match="cut"):
        offsite_down.bring_back(bucket, other.volume, print)
    assert not [path for path in other.root.rglob("*") if path.is_file()]
    bucket.chunks = chunks  # type: ignore[method-assign]
    offsite_down.bring_back(bucket, other.volume, print)
    assert other.volume.backups() == [name]


def test_log_of_which_the_first_piece_is_missing_is_no_log(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.backup(1, 1)
    log = keeper.log(1, "one")
    up(bucket, keeper)
    keeper.log(1, "one, and two")
    up(bucket, keeper)
    bucket.delete([f"{log}.from-{0:015}"])
    other = Keeper(tmp_path / "other")
    offsite_down.bring_back(bucket, other.volume, print)
    assert not other.volume.logs()


# --- Away ----------------------------------------------------------------------------------------


def test_what_the_keeper_no_longer_has_goes_by_its_own_rule(bucket: Bucket, keeper: Keeper) -> None:
    names = [keeper.backup(day, day) for day in (1, 2, 3, 27, 28)]
    for number in (1, 2, 3, 27, 28):
        keeper.log(number, "x")
    up(bucket, keeper)
    assert copy(bucket, keeper) == [], "the volume has all of them"
    for name in names[:3]:
        keeper.remove(name)
    (keeper.root / "binlogs" / OLD / "binlog.000001").unlink()
    removed = copy(bucket, keeper)
    assert removed[:3] == [f"backups/{name}" for name in names[:3]]
    assert removed[3:] == [f"binlogs/{OLD}/binlog.{n:06}" for n in (1, 2, 3)]
    before = bucket.sizes()
    up(bucket, keeper)
    assert bucket.sizes() == before, "what no backup needs does not come again"


def test_young_ones_and_so_many_as_are_kept_stay(bucket: Bucket, keeper: Keeper) -> None:
    names = [keeper.backup(day, day) for day in (10, 11, 26, 27, 28)]
    up(bucket, keeper)
    for name in names[1:]:
        keeper.remove(name)
    assert copy(bucket, keeper, keep=5) == []
    assert copy(bucket, keeper, keep=2, days=30) == []
    # Beyond the two newest, but here, or no two days old.
    assert copy(bucket, keeper, keep=2) == [f"backups/{names[1]}", f"backups/{names[2]}"]


def test_nothing_goes_while_the_volume_is_empty(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    for day in (1, 2, 3, 4):
        keeper.backup(day, day)
        keeper.log(day, "x")
    up(bucket, keeper)
    before = bucket.sizes()
    lost = Keeper(tmp_path / "lost")
    lost.log(1, "x", NEW)
    assert copy(bucket, lost) == []
    assert bucket.sizes() == before


def test_new_server_of_a_lost_machine_removes_none_of_those_kept(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    for day in (25, 26):
        keeper.backup(day, day)
    keeper.log(25, "x")
    keeper.log(26, "x")
    up(bucket, keeper)
    before = set(bucket.sizes())
    lost = Keeper(tmp_path / "lost")
    lost.backup(28, 1, NEW)
    lost.log(1, "y", NEW)
    offsite_down.bring_back(bucket, lost.volume, print)
    up(bucket, lost)
    assert copy(bucket, lost) == []
    assert before < set(bucket.sizes())


def test_logs_of_a_server_that_has_no_backup_left_go(bucket: Bucket, keeper: Keeper) -> None:
    gone = keeper.backup(1, 1, OLD)
    log = keeper.log(1, "x", OLD)
    for day in (27, 28):
        keeper.backup(day, 1, NEW)
    kept = keeper.log(1, "y", NEW)
    up(bucket, keeper)
    keeper.remove(gone)
    shutil.rmtree(keeper.root / "binlogs" / OLD)
    assert copy(bucket, keeper) == [f"backups/{gone}", f"{log}.from-{0:015}"]
    assert f"{kept}.from-{0:015}" in bucket.sizes()


# --- The copier ----------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def test_copier_says_until_when_its_last_success_counts_and_what_is_wrong(
    bucket: Bucket, keeper: Keeper, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    file = settings(overdue_seconds=600, backups_overdue_seconds=7200)
    copier = Copier("database-1", file, bucket, keeper.volume, state, clock)

    def overdue() -> float:
        return int((state / "overdue").read_text()) - NOW.timestamp()

    assert overdue() == 600
    clock.now += 100

    def fails() -> None:
        raise CrmError("the bucket: does not answer")

    assert not copier.attempt("binlogs", fails)
    assert not copier.attempt("backups", fails)
    assert overdue() == 600
    assert (state / "problem").read_text() == "error: the bucket: does not answer"
    said = capsys.readouterr().out
    assert said.count("does not answer") == 1, "the same is said once"
    assert copier.attempt("binlogs", copier.copy_logs)
    copier.succeeded("binlogs")
    assert overdue() == 700
    assert "goes on" in capsys.readouterr().out
    metrics = (keeper.root / "metrics" / "offsite.prom").read_text()
    name = "crm_offsite_last_success_timestamp_seconds"
    assert f'{name}{{shard="database-1",of="binlogs"}} {int(clock.now)}\n' in metrics


def test_copier_joins_each_volume_and_bucket_once(
    bucket: Bucket, keeper: Keeper, state: Path, tmp_path: Path
) -> None:
    keeper.backup(1, 1)
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    copier = Copier("database-1", settings(), bucket, other.volume, state)
    assert not copier.is_joined
    copier.join()
    assert copier.is_joined
    assert other.volume.backups() == keeper.volume.backups()
    moved = Bucket(MemoryStore(), "sales/database-1", "another bucket")
    assert not Copier("database-1", settings(), moved, other.volume, state).is_joined


def test_rounds_of_backups_count_what_the_bucket_holds(
    bucket: Bucket, keeper: Keeper, state: Path
) -> None:
    keeper.backup(27, 1)
    keeper.backup(28, 1)
    copier = Copier("database-1", settings(), bucket, keeper.volume, state, Clock())
    assert copier.attempt("backups", copier.copy_backups)
    copier.succeeded("backups")
    metrics = (keeper.root / "metrics" / "offsite.prom").read_text()
    assert 'crm_offsite_backups{shard="database-1"} 2\n' in metrics
    held = sum(bucket.sizes().values())
    assert f'crm_offsite_bytes{{shard="database-1"}} {held}\n' in metrics


def test_settings_that_are_none_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "offsite.json"
    with pytest.raises(CrmError, match=r"offsite\.json: cannot be read"):
        offsite.load({"CRM_CONFIG": str(path)})
    path.write_text('{"bucket": 1}')
    with pytest.raises(CrmError, match=r"offsite\.json: Expected `str`"):
        offsite.load({"CRM_CONFIG": str(path)})


def test_server_that_is_away_is_named_with_the_cause() -> None:
    store = offsite_bucket.s3(
        bucket="kept",
        region="us-east-1",
        endpoint="http://127.0.0.1:1",
        path_style=True,
        keys=("id", "canary"),
        authority=None,
    )
    with pytest.raises(CrmError) as caught:
        Bucket(store, "sales/database-1", "the bucket").sizes()
    assert str(caught.value) == "the bucket: does not answer: Connection refused"
