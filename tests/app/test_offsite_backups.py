"""Backups in a bucket: damaged ones, what is asked and sent how often, which logs are needed; what
a copier knows after it was started again, and on a full volume."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError
from obstore.store import MemoryStore

from crm.errors import CrmError
from crm.files import sha256_of
from crm.offsite import Copier
from crm.offsite_backups import Backups, Needs
from crm.offsite_bucket import ArchivedError, Bucket
from tests.app.offsite_keeper import DAY, NEW, NOW, OLD, Clock, Keeper, copy, settings, up

ARCHIVED = (
    "Generic S3 error: Error performing GET https://s3/x in 1ms - Server returned non-2xx status "
    "code: 403 Forbidden: <Error><Code>InvalidObjectState</Code><Message>The operation is not "
    "valid for the object's storage class</Message></Error>"
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def sent(bucket: Bucket, patch: pytest.MonkeyPatch) -> list[str]:
    """What is put from now on, in order."""
    puts: list[str] = []
    put = bucket.put

    def noted(name: str, content: Path | bytes, sha256: str) -> None:
        puts.append(name.rpartition("/")[2])
        put(name, content, sha256)

    patch.setattr(bucket, "put", noted)
    return puts


# --- Up ------------------------------------------------------------------------------------------


def test_nothing_of_a_damaged_backup_is_sent_and_it_is_not_read_again_for_an_hour(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = keeper.backup(1, 1)
    manifest = keeper.root / "backups" / name / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text("{}")
    puts = sent(bucket, monkeypatch)
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr("crm.offsite_backups.sha256_of", noted)
    clock = Clock()
    backups = Backups(bucket, keeper.volume, Needs(bucket, keeper.volume), print, clock)

    def refused() -> list[str]:
        hashed.clear()
        with pytest.raises(CrmError, match=rf"{name}/manifest\.json: its SHA-256 is not the one"):
            backups.copy(2, 2 * DAY)
        return hashed

    assert refused() == ["dump.sql.gz", "rows.tsv", "manifest.json"]
    assert refused() == [], "and it is said as before"
    clock.now += 3601
    assert len(refused()) == 3
    assert not puts
    manifest.write_text(whole)
    backups.copy(2, 2 * DAY)
    assert puts == ["dump.sql.gz", "rows.tsv", "manifest.json", "SHA256SUMS"]


def test_damaged_backup_keeps_nothing_back_from_being_removed(
    bucket: Bucket, keeper: Keeper
) -> None:
    names = [keeper.backup(day, day) for day in (1, 2, 27)]
    up(bucket, keeper)
    keeper.remove(names[0])
    bad = keeper.backup(28, 1)
    (keeper.root / "backups" / bad / "rows.tsv").unlink()
    with pytest.raises(CrmError, match=r"rows\.tsv: is not there"):
        copy(bucket, keeper)
    there = {name.split("/")[1] for name in bucket.sizes() if name.startswith("backups/")}
    assert there == set(names[1:])


def test_files_that_were_read_back_are_not_sent_again_after_a_break(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    puts = sent(bucket, monkeypatch)
    put = bucket.put
    is_cut = True

    def breaks(name: str, content: Path | bytes, sha256: str) -> None:
        if is_cut and name.endswith("manifest.json"):
            raise CrmError("the line is cut")
        put(name, content, sha256)

    monkeypatch.setattr(bucket, "put", breaks)
    backups = Backups(bucket, keeper.volume, Needs(bucket, keeper.volume), print, Clock())
    for _ in range(2):
        with pytest.raises(CrmError, match="cut"):
            backups.copy(2, 2 * DAY)
    is_cut = False
    backups.copy(2, 2 * DAY)
    assert puts == ["dump.sql.gz", "rows.tsv", "manifest.json", "SHA256SUMS"]


def test_bucket_is_listed_once_a_round_and_each_manifest_read_once(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = keeper.backup(26, 1)
    keeper.backup(27, 1)
    keeper.backup(28, 1)
    up(bucket, keeper)
    keeper.remove(gone)
    lists: list[int] = []
    reads: list[str] = []
    sizes, chunks = bucket.sizes, bucket.chunks

    def listed() -> dict[str, int]:
        lists.append(1)
        return sizes()

    def read(name: str, size: int) -> Iterator[bytes]:
        reads.append(name)
        return chunks(name, size)

    monkeypatch.setattr(bucket, "sizes", listed)
    monkeypatch.setattr(bucket, "chunks", read)
    backups = Backups(bucket, keeper.volume, Needs(bucket, keeper.volume), print, Clock())
    for _ in range(3):
        backups.copy(3, 3 * DAY)
    assert len(lists) == 3
    assert reads == [f"backups/{gone}/manifest.json"]


# --- Which logs are needed -----------------------------------------------------------------------


def test_logs_are_needed_from_the_first_that_any_backup_goes_on_in(
    bucket: Bucket, keeper: Keeper
) -> None:
    # The server's clock was set back between the two.
    keeper.backup(27, 5)
    keeper.backup(26, 7)
    keeper.backup(28, 2, NEW)
    early, late = keeper.log(5, "five"), keeper.log(7, "seven")
    up(bucket, keeper)
    assert Needs(bucket, keeper.volume).first(bucket.sizes()) == {
        OLD: early,
        NEW: f"binlogs/{NEW}/binlog.000002",
    }
    assert copy(bucket, keeper) == []
    assert {early, f"{late}.from-{0:015}"} <= set(bucket.sizes())


def test_logs_are_all_needed_where_a_manifest_cannot_be_read(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = keeper.backup(27, 5)
    keeper.backup(28, 7)
    keeper.log(1, "one")
    up(bucket, keeper)
    keeper.remove(gone)

    def archived(name: str, size: int) -> Iterator[bytes]:
        raise ArchivedError(f"{name}, {size} bytes")

    monkeypatch.setattr(bucket, "chunks", archived)
    assert Needs(bucket, keeper.volume).first(bucket.sizes())[OLD] == ""
    assert copy(bucket, keeper) == []


def test_object_in_an_archive_class_is_no_matter_of_the_access_key(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionDeniedError(ARCHIVED)

    monkeypatch.setattr(obstore, "get_range", refuses)
    with pytest.raises(ArchivedError) as caught:
        list(bucket.chunks("x", 1))
    assert str(caught.value).startswith("the bucket: an object is in an archive class, and cannot")
    assert "access" not in str(caught.value)


# --- The copier ----------------------------------------------------------------------------------


def overdue(state: Path) -> float:
    """In seconds after the first day of March."""
    return int((state / "overdue").read_text()) - NOW.timestamp()


def test_start_hides_no_failure_and_metrics_go_on(
    bucket: Bucket, keeper: Keeper, state: Path
) -> None:
    keeper.backup(28, 1)
    clock = Clock()
    file = settings(overdue_seconds=600, backups_overdue_seconds=7200)

    def start() -> Copier:
        return Copier("database-1", file, bucket, keeper.volume, state, clock)

    copier = start()
    copier.join()
    assert copier.attempt("backups", copier.copy_backups)
    copier.succeeded("backups")
    copier.succeeded("binlogs")
    metrics = keeper.root / "metrics" / "offsite.prom"
    before = metrics.read_text()
    assert 'of="backups"' in before
    clock.now += 400
    copier = start()
    assert overdue(state) == 600, "that of the success before, not 600 more"
    clock.now += 1000
    copier = start()
    assert overdue(state) == 1400 + 60, "what is overdue has a minute, however often it starts"
    copier.succeeded("binlogs")
    after = metrics.read_text()
    assert after == before.replace(
        f'of="binlogs"}} {int(NOW.timestamp())}', f'of="binlogs"}} {int(clock.now)}'
    )
    assert after != before
    # A clock that was set back since makes nothing last longer than it does.
    clock.now -= DAY
    start()
    assert overdue(state) == 1400 - DAY + 600


def test_start_with_another_bucket_begins_anew(bucket: Bucket, keeper: Keeper, state: Path) -> None:
    clock = Clock()
    file = settings(overdue_seconds=600, backups_overdue_seconds=7200)
    copier = Copier("database-1", file, bucket, keeper.volume, state, clock)
    copier.join()
    copier.succeeded("binlogs")
    clock.now += 1000
    moved = Bucket(MemoryStore(), "sales-2/database-1", "another prefix")
    Copier("database-1", file, moved, keeper.volume, state, clock)
    assert overdue(state) == 1600


def test_full_volume_is_said_once_and_the_copier_goes_on(
    bucket: Bucket,
    keeper: Keeper,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    file = settings(overdue_seconds=600)
    copier = Copier("database-1", file, bucket, keeper.volume, state, clock)
    write = Path.write_text
    is_full = True

    def full(path: Path, text: str, encoding: str | None = None) -> int:
        if is_full and path.is_relative_to(keeper.root):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    for _ in range(3):
        clock.now += 100
        assert copier.attempt("binlogs", copier.copy_logs)
        copier.succeeded("binlogs")
    said = capsys.readouterr().out
    assert said.count("offsite.prom cannot be written: No space left on device") == 1
    assert overdue(state) == 900, "the copies are there, and that is what counts"
    metrics = keeper.root / "metrics" / "offsite.prom"
    assert not metrics.exists()
    is_full = False
    copier.succeeded("binlogs")
    assert f'of="binlogs"}} {int(clock.now)}\n' in metrics.read_text()
