"""Binary logs in a bucket: servers that were set back, pieces by the thousand, what waits for what,
and what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from crm import offsite_down, offsite_logs
from crm import offsite_names as names
from crm.errors import CrmError
from crm.offsite_backups import Needs
from crm.offsite_bucket import ArchivedError, Bucket
from crm.offsite_logs import HEAD, Logs
from tests.app.offsite_keeper import NEW, OLD, Keeper, text, tree, up

SET_BACK = r"has another {} than the volume, or more of it.*was set back.*s3\.prefix"


def begun(at: str, rest: str = "") -> str:
    """A log of which the first bytes say when it was begun."""
    return f"{at:>{HEAD}}{rest}"


def in_bucket(bucket: Bucket, log: str) -> str:
    """A log as it would come back."""
    there = bucket.sizes()
    return "".join(text(bucket, part) for part, _ in names.parts(there, log))


def pieces(bucket: Bucket, log: str) -> list[str]:
    return [name for name in bucket.sizes() if name.startswith(f"{log}.from-")]


class Asked:
    """Counts what a bucket is asked for, in the order of it, and may refuse to remove."""

    def __init__(self, bucket: Bucket, patch: pytest.MonkeyPatch) -> None:
        self.puts: list[str] = []
        self.reads: list[str] = []
        self.lists = 0
        self.may_delete = True
        put, chunks, sizes, delete = bucket.put, bucket.chunks, bucket.sizes, bucket.delete

        def counted_put(name: str, content: Path | bytes, sha256: str) -> None:
            self.puts.append(name)
            put(name, content, sha256)

        def counted_chunks(name: str, size: int) -> Iterator[bytes]:
            self.reads.append(name)
            return chunks(name, size)

        def counted_sizes() -> dict[str, int]:
            self.lists += 1
            return sizes()

        def counted_delete(some: Sequence[str]) -> None:
            if some and not self.may_delete:
                raise CrmError("the bucket: refuses the access key (AccessDenied)")
            delete(some)

        patch.setattr(bucket, "put", counted_put)
        patch.setattr(bucket, "chunks", counted_chunks)
        patch.setattr(bucket, "sizes", counted_sizes)
        patch.setattr(bucket, "delete", counted_delete)


# --- Another log of the same name ----------------------------------------------------------------


def test_log_of_which_the_bucket_has_more_is_named_and_left_as_it_is(
    bucket: Bucket, keeper: Keeper
) -> None:
    keeper.backup(1, 1)
    finished, growing = keeper.log(1, "all of it"), keeper.log(2, "much of it")
    up(bucket, keeper)
    before = bucket.sizes()
    keeper.log(1, "all")
    keeper.log(2, "much")
    with pytest.raises(CrmError, match=SET_BACK.format(f"{finished}, {growing}")):
        up(bucket, keeper)
    assert bucket.sizes() == before
    last = keeper.log(3, "x")
    with pytest.raises(CrmError, match=SET_BACK.format(f"{finished}, {growing}")):
        up(bucket, keeper)
    assert text(bucket, finished) == "all of it"
    assert text(bucket, f"{growing}.from-{0:015}") == "much of it"
    assert in_bucket(bucket, last) == "x", "others go on"
    # As the keeper mends one of which the end was lost.
    keeper.log(1, "all of it")
    keeper.log(2, "much of it, and more")
    up(bucket, keeper)
    assert in_bucket(bucket, growing) == "much of it, and more"


@pytest.mark.parametrize("is_known", [True, False])
def test_server_that_was_set_back_is_refused_and_nothing_is_mixed(
    bucket: Bucket, keeper: Keeper, is_known: bool
) -> None:
    keeper.backup(1, 1)
    logs = Logs(bucket, keeper.volume, Needs(bucket, keeper.volume))
    before = {n: begun(f"Monday {n}", " rows") for n in (1, 2, 3)}
    first, whole, growing = (keeper.log(n, content) for n, content in before.items())
    logs.copy()
    logs.copy()
    objects = {name: text(bucket, name) for name in bucket.sizes()}
    # Of one length, and longer: what is seen is how they begin.
    keeper.log(2, begun("Friday 2", " xxxx"))
    keeper.log(3, begun("Friday 3", " rows and many more"))
    other = keeper.log(4, begun("Friday 4"))
    if not is_known:
        logs = Logs(bucket, keeper.volume, Needs(bucket, keeper.volume))
    for _ in range(2):
        with pytest.raises(CrmError, match=SET_BACK.format(f"{whole}, {growing}")) as caught:
            logs.copy()
        assert "in part" not in str(caught.value)
    after = {name: text(bucket, name) for name in bucket.sizes()}
    assert {name: after[name] for name in objects} == objects
    assert set(after) - set(objects) == {names.piece(other, 0)}
    assert in_bucket(bucket, first) == before[1]
    # The way out.
    moved = Bucket(MemoryStore(), "sales-2/database-1", "another prefix")
    up(moved, keeper)
    assert in_bucket(moved, growing) == begun("Friday 3", " rows and many more")


def test_log_before_one_that_is_another_there_is_finished(bucket: Bucket, keeper: Keeper) -> None:
    keeper.backup(1, 1)
    log = keeper.log(1, "one")
    up(bucket, keeper)
    other = names.piece(keeper.log(2, "another"), 0)
    bucket.put(other, b"x", hashlib.sha256(b"x").hexdigest())
    with pytest.raises(CrmError, match="was set back"):
        Logs(bucket, keeper.volume, Needs(bucket, keeper.volume)).copy()
    assert [name for name in bucket.sizes() if "binlogs" in name] == [log, other]


def test_beginning_of_each_log_is_read_once(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    for number in (1, 2, 3):
        keeper.log(number, begun("Monday"))
    up(bucket, keeper)
    asked = Asked(bucket, monkeypatch)
    logs = Logs(bucket, keeper.volume, Needs(bucket, keeper.volume))
    for _ in range(3):
        logs.copy()
    assert len(asked.reads) == 3
    assert asked.lists == 3


def test_log_that_cannot_be_read_there_is_said_and_the_others_go_on(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    first, last = keeper.log(1, "one"), keeper.log(2, "two")
    up(bucket, keeper)
    keep_in_archive(bucket, first, monkeypatch)
    keeper.log(2, "two and more")
    with pytest.raises(CrmError, match="is in an archive class"):
        Logs(bucket, keeper.volume, Needs(bucket, keeper.volume)).copy()
    assert in_bucket(bucket, last) == "two and more"


def test_half_a_log_that_the_volume_lacks_is_said_until_it_has_it(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.backup(1, 1)
    keeper.log(1, "one")
    half = keeper.log(2, "tw")
    up(bucket, keeper)
    # The keeper's volume was lost, and its server went on.
    other = Keeper(tmp_path / "other")
    last = other.log(3, "three")
    offsite_down.bring_back(bucket, other.volume, print)
    with pytest.raises(CrmError, match=rf"has {half} in part.*run crm backup"):
        up(bucket, other)
    assert in_bucket(bucket, last) == "three"
    other.log(2, "two")
    up(bucket, other)
    assert text(bucket, half) == "two"


def test_logs_that_the_volume_lacks_and_nobody_misses_are_no_matter(
    bucket: Bucket, keeper: Keeper, tmp_path: Path
) -> None:
    keeper.backup(1, 2)
    keeper.backup(2, 1, NEW)
    whole, half = keeper.log(2, "whole"), keeper.log(3, "the last of its server", NEW)
    keeper.log(3, "x")
    up(bucket, keeper)
    before_the_first = names.piece(whole.replace("02", "01"), 0)
    bucket.put(before_the_first, b"x", hashlib.sha256(b"x").hexdigest())
    other = Keeper(tmp_path / "other")
    other.log(3, "x, and more")
    up(bucket, other)
    assert {whole, names.piece(half, 0), before_the_first} <= set(bucket.sizes())


# --- Pieces --------------------------------------------------------------------------------------


def test_many_small_pieces_become_few_and_what_a_break_left_of_them_goes(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsite_logs, "CHUNK", 20)
    keeper.backup(1, 1)
    content = ""
    asked = Asked(bucket, monkeypatch)
    logs = Logs(bucket, keeper.volume, Needs(bucket, keeper.volume))
    most = 0
    for number in range(300):
        content += f"{number:03} "
        log = keeper.log(1, content)
        # Every other merge breaks off before it has removed anything.
        asked.may_delete = bool(number % 2)
        try:
            logs.copy()
        except CrmError as error:
            assert "AccessDenied" in str(error)
        if number % 8 < 2:
            assert in_bucket(bucket, log) == content
        most = max(most, len(pieces(bucket, log)))
        assert max(size for name, size in bucket.sizes().items() if log in name) <= 20
    # 1200 bytes, 4 at a time.
    assert most <= 1200 / 20 + 2 * offsite_logs.MOST_SMALL
    assert len(pieces(bucket, log)) < 130
    last = keeper.log(2, "x")
    logs.copy()
    assert text(bucket, log) == content
    assert [name for name in bucket.sizes() if "binlogs" in name] == [log, names.piece(last, 0)]


def test_pieces_that_are_large_enough_are_not_sent_again(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsite_logs, "CHUNK", 20)
    monkeypatch.setattr(offsite_logs, "MOST_SMALL", 4)
    keeper.backup(1, 1)
    content = "x" * 20 + "y" * 11
    log = keeper.log(1, content)
    up(bucket, keeper)
    for _ in range(4):
        content += "abc"
        keeper.log(1, content)
        up(bucket, keeper)
    assert {name: size for name, size in bucket.sizes().items() if log in name} == {
        names.piece(log, 0): 20,
        names.piece(log, 20): 11,
        names.piece(log, 31): 12,
    }
    assert in_bucket(bucket, log) == content


# --- What waits for what -------------------------------------------------------------------------


def test_what_was_just_written_does_not_wait_for_a_whole_log(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    old = keeper.log(1, "one")
    up(bucket, keeper)
    keeper.log(1, "one, and its end")
    new = keeper.log(2, "two")
    asked = Asked(bucket, monkeypatch)
    put = bucket.put

    def writes_meanwhile(name: str, content: Path | bytes, sha256: str) -> None:
        put(name, content, sha256)
        if name == old:
            keeper.log(2, "two, written meanwhile")

    monkeypatch.setattr(bucket, "put", writes_meanwhile)
    Logs(bucket, keeper.volume, Needs(bucket, keeper.volume)).copy()
    order = [names.piece(old, 3), names.piece(new, 0), old, names.piece(new, 3)]
    assert asked.puts == order
    assert in_bucket(bucket, new) == "two, written meanwhile"


def test_no_log_goes_before_one_that_is_missing_there(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    keeper.backup(2, 1, NEW)
    first, second, last = (keeper.log(n, str(n)) for n in (1, 2, 3))
    other = keeper.log(1, "x", NEW)
    asked = Asked(bucket, monkeypatch)
    Logs(bucket, keeper.volume, Needs(bucket, keeper.volume)).copy()
    assert asked.puts == [names.piece(other, 0), first, second, names.piece(last, 0)]


def test_key_that_may_not_remove_is_said_and_keeps_no_log_back(
    bucket: Bucket, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    asked = Asked(bucket, monkeypatch)
    asked.may_delete = False
    logs = Logs(bucket, keeper.volume, Needs(bucket, keeper.volume))
    keeper.log(1, "one")
    logs.copy()
    written = {}
    for number in (2, 3, 4):
        written[keeper.log(number, f"log {number}")] = f"log {number}"
        with pytest.raises(CrmError, match="AccessDenied"):
            logs.copy()
    assert {log: in_bucket(bucket, log) for log in written} == written
    set_back = keeper.log(2, "log")
    with pytest.raises(CrmError, match=rf"another {set_back} .*was set back.*AccessDenied"):
        logs.copy()
    keeper.log(2, "log 2")
    asked.may_delete = True
    logs.copy()
    assert len(bucket.sizes()) == 4, "three whole, and the piece of the one that grows"


# --- Back ----------------------------------------------------------------------------------------


def keep_in_archive(bucket: Bucket, name: str, patch: pytest.MonkeyPatch) -> None:
    chunks = bucket.chunks

    def refuses(asked: str, size: int) -> Iterator[bytes]:
        if asked == name:
            raise ArchivedError(f"{bucket.where}: an object is in an archive class")
        yield from chunks(asked, size)

    patch.setattr(bucket, "chunks", refuses)


def test_restores_are_kept_back_from_the_first_byte_to_the_last(
    bucket: Bucket, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    keeper.backup(2, 1)
    keeper.log(1, "one")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    coming = other.root / "offsite" / "coming"
    chunks = bucket.chunks
    is_cut = True

    def breaks(name: str, size: int) -> Iterator[bytes]:
        assert coming.is_dir()
        if is_cut and other.volume.backups():
            raise CrmError("the line is cut")
        yield from chunks(name, size)

    monkeypatch.setattr(bucket, "chunks", breaks)
    with pytest.raises(CrmError, match="cut"):
        offsite_down.bring_back(bucket, other.volume, print)
    assert len(other.volume.backups()) == 1
    assert coming.is_dir(), "half is not the whole"
    is_cut = False
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == tree(keeper.root)
    assert not coming.exists()
    # One that an earlier attempt left, with nothing more to come.
    coming.mkdir()
    offsite_down.bring_back(bucket, other.volume, print)
    assert not coming.exists()


def test_who_goes_on_without_the_rest_breaks_nothing(
    bucket: Bucket, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.backup(1, 1)
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    chunks = bucket.chunks

    def removes(name: str, size: int) -> Iterator[bytes]:
        if name.endswith("manifest.json"):
            (other.root / "offsite" / "coming").rmdir()
        yield from chunks(name, size)

    monkeypatch.setattr(bucket, "chunks", removes)
    offsite_down.bring_back(bucket, other.volume, print)
    assert tree(other.root) == tree(keeper.root)


def test_half_a_log_of_a_server_that_goes_on_is_left_to_the_keeper(
    bucket: Bucket, keeper: Keeper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper.backup(1, 1)
    first, half = keeper.log(1, "one"), keeper.log(2, "tw")
    up(bucket, keeper)
    other = Keeper(tmp_path / "other")
    later = other.log(3, "three")
    others = other.log(3, "three", NEW)
    offsite_down.bring_back(bucket, other.volume, print)
    assert list(other.volume.logs()) == [first, later, others]
    assert f"{half} is in the bucket in part, and is left to the keeper" in capsys.readouterr().out
    # Of one that does not, it is all there is.
    lost = Keeper(tmp_path / "lost")
    lost.log(3, "three", NEW)
    offsite_down.bring_back(bucket, lost.volume, print)
    assert list(lost.volume.logs()) == [first, half, others]
    assert OLD in half


@pytest.mark.parametrize("which", ["dump.sql.gz", "SHA256SUMS", "log"])
def test_what_is_in_an_archive_class_keeps_back_nothing_else(
    bucket: Bucket,
    keeper: Keeper,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    which: str,
) -> None:
    good, bad = keeper.backup(1, 1), keeper.backup(2, 1)
    first, last = keeper.log(1, "one"), keeper.log(2, "two")
    up(bucket, keeper)
    archived = first if which == "log" else f"backups/{bad}/{which}"
    keep_in_archive(bucket, archived, monkeypatch)
    other = Keeper(tmp_path / "other")
    offsite_down.bring_back(bucket, other.volume, print)
    assert other.volume.backups() == ([good, bad] if which == "log" else [good])
    assert list(other.volume.logs()) == ([last] if which == "log" else [first, last])
    name = first if which == "log" else f"backup {bad}"
    assert f"is in an archive class; {name} is not brought back" in capsys.readouterr().out
