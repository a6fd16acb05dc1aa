"""Partitions that leave go into files, and their tables only after these were read back."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from crm import archive_files, schema
from crm.errors import CrmError
from tests.live import own
from tests.live.shop import PASSWORD, Shop

pytestmark = pytest.mark.live

NOW = datetime(2026, 9, 1, 9, tzinfo=UTC)
LATER = datetime(2026, 1, 9, 9, tzinfo=UTC)
ARCHIVED = "crm_orders_archive_p_2026_01"
FIRST = "visits_archive_first"
ALL_KINDS = """
CREATE TABLE visits (
    id BIGINT, seen_at DATETIME(3), words TEXT, old VARCHAR(20) CHARACTER SET latin1,
    raw VARBINARY(20), some BIT(5), little FLOAT, large DOUBLE, exact DECIMAL(30, 10),
    about JSON, kind ENUM('a', 'ö'), at TIMESTAMP NULL, span TIME(6),
    twice BIGINT AS (id * 2) STORED, PRIMARY KEY (id, seen_at)
) PARTITION BY RANGE COLUMNS (seen_at) (PARTITION first VALUES LESS THAN ('2026-01-02'));
INSERT INTO visits (
    id, seen_at, words, old, raw, some, little, large, exact, about, kind, at, span
) VALUES
(0, '2026-01-01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(1, '2026-01-01', '', '', '', 0, 0, 0, 0, 'null', 'a', '2026-01-01', '0:0'),
(2, '2026-01-01 23:59:59.999', 'it''s "one"\\\\ line,\\n(two),\\r\\n;\\0\\Z€', 'müßig\\n',
 X'00FF0A0D275C', b'10101', 0.1, 1e-308 / 3, -12345678901234567890.0123456789,
 '{"a": "\\\\n\\\\"ü", "b": [1.5, null]}', 'ö', '2038-01-19 03:14:07',
 '-837:59:59.000001');
"""


@pytest.fixture(scope="module")
def server() -> Iterator[own.MySQL]:
    with own.mysql() as running:
        running.sql(f"CREATE USER crm_owner@'%' IDENTIFIED BY \"{PASSWORD}\"")
        running.sql("GRANT ALL PRIVILEGES ON crm.* TO crm_owner@'%'")
        yield running


@pytest.fixture
def shop(server: own.MySQL, tmp_path: Path) -> Shop:
    shop = Shop(server, tmp_path, visits={"archive": "file"}, archive="file")
    shop.sell(date(2026, 1, 9), date(2026, 8, 9), each=1500)
    return shop


def files(shop: Shop, table: str = ARCHIVED) -> list[Path]:
    return archive_files.files(shop.files / "database-1", table)


def loaded_again(shop: Shop, path: Path) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    shop.server.sql(text, "crm")


def test_table_goes_with_a_yes_when_its_file_was_read_back(shop: Shop) -> None:
    found = shop.run(NOW)
    assert shop.archives() == [ARCHIVED]
    assert [step.waits_for for step in found.waiting] == [
        "its rows are then in that file alone (`archive: file`)"
    ]
    (path,) = files(shop)
    assert archive_files.read_back(path).rows == 1500
    subprocess.run(
        ["sha256sum", "--check", "--quiet", f"{path.name}.sha256"], cwd=path.parent, check=True
    )
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".new"] == []
    written = path.stat().st_mtime_ns
    shop.check()
    # The schedule never deletes, and writes no file twice.
    assert shop.run(NOW).done == 0
    assert shop.archives() == [ARCHIVED]
    assert shop.run(NOW, yes=True).waiting == ()
    assert shop.archives() == []
    assert (files(shop), path.stat().st_mtime_ns) == ([path], written)
    assert shop.run(NOW, yes=True).done == 0
    assert shop.said == ["-- database-1: crm_orders: nothing to do"]
    loaded_again(shop, path)
    shop.check()


def test_what_only_has_such_a_name_stays(shop: Shop) -> None:
    shop.server.sql(
        "CREATE TABLE crm_orders_archive_used (order_date DATE NOT NULL) "
        "PARTITION BY KEY (order_date) PARTITIONS 2; "
        "CREATE TABLE crm_orders_archive_other (id BIGINT PRIMARY KEY)",
        "crm",
    )
    shop.run(NOW)
    shop.server.sql(
        f"CREATE OR REPLACE VIEW crm_orders_archive_all AS SELECT * FROM {ARCHIVED}", "crm"
    )
    assert shop.run(NOW, yes=True).waiting == ()
    found = {name for (name,) in shop.server.sql("SHOW TABLES LIKE '%_archive_%'", "crm")}
    assert found == {f"crm_orders_archive_{kind}" for kind in ("used", "other", "all")}


def test_large_rows_can_be_loaded_again(shop: Shop) -> None:
    shop.server.sql(
        "CREATE TABLE visits (id BIGINT, seen_at DATE, raw MEDIUMBLOB, PRIMARY KEY (id, seen_at)) "
        "PARTITION BY RANGE COLUMNS (seen_at) (PARTITION first VALUES LESS THAN ('2026-01-02')); "
        "INSERT INTO visits WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 400) SELECT i, '2026-01-01', REPEAT(RANDOM_BYTES(1000), 100) FROM n",
        "crm",
    )
    shop.run(LATER, table="visits")
    there = shop.server.sql(f"CHECKSUM TABLE {FIRST}", "crm")
    (path,) = files(shop, FIRST)
    text = gzip.decompress(path.read_bytes()).decode()
    table, _, rows = text.partition("INSERT INTO")
    inserts = [f"INSERT INTO{some}" for some in rows.removesuffix("\n").split("\n;\nINSERT INTO")]
    # As SQL these rows are 80 MB, and a server takes 64 MiB at once.
    assert len(text) > 2**26 > 16 * max(map(len, inserts))
    shop.run(LATER, table="visits", yes=True)
    shop.server.sql(table, "crm")
    with schema.connect(shop.shard, shop.loaded.file.database, shop.loaded.secrets) as loading:
        for insert in inserts:
            loading.cursor().execute(insert.partition("\n;\n")[0])
        loading.commit()
    assert shop.server.sql(f"CHECKSUM TABLE {FIRST}", "crm") == there


def test_what_came_since_is_in_the_file_before_the_table_goes(shop: Shop) -> None:
    shop.run(NOW)
    shop.server.sql(f"DELETE FROM {ARCHIVED} LIMIT 1", "crm")
    shop.server.sql(f"INSERT INTO {ARCHIVED} VALUES (-1, 1, '2026-01-09', 1)", "crm")
    (before,) = files(shop)
    shop.run(NOW, yes=True)
    (after,) = {*files(shop)} - {before}
    assert b"'-1'" in gzip.decompress(after.read_bytes())
    assert shop.archives() == []


@pytest.mark.parametrize("hurt", ["flipped", "cut off", "gone"])
def test_file_that_was_damaged_meanwhile_is_written_again(shop: Shop, hurt: str) -> None:
    shop.run(NOW)
    (path,) = files(shop)
    right = path.read_bytes()
    middle = len(right) // 2
    damaged = {
        "flipped": right[:middle] + bytes([right[middle] ^ 1]) + right[middle + 1 :],
        "cut off": right[:middle],
    }
    if hurt == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged[hurt])
        with pytest.raises(CrmError, match=r"is damaged|is not whole"):
            archive_files.read_back(path)
    shop.run(NOW, yes=True)
    assert path.read_bytes() == right
    assert shop.archives() == []


def test_table_stays_where_its_file_cannot_be_written(shop: Shop) -> None:
    shop.files.write_text("no folder")
    for yes in (False, True):
        with pytest.raises(CrmError, match=rf"database-1: {ARCHIVED}: cannot be written to .*stay"):
            shop.run(NOW, yes=yes)
        assert shop.archives() == [ARCHIVED]
        shop.check()


def test_every_kind_of_column_comes_back_as_it_was(shop: Shop) -> None:
    shop.server.sql(ALL_KINDS, "crm")
    shop.run(LATER, table="visits")
    there = shop.server.sql(f"CHECKSUM TABLE {FIRST}", "crm")
    made = shop.server.sql(f"SHOW CREATE TABLE {FIRST}", "crm")
    (path,) = files(shop, FIRST)
    assert archive_files.read_back(path).rows == 3
    shop.run(LATER, table="visits", yes=True)
    assert shop.server.sql(f"SHOW TABLES LIKE '{FIRST}'", "crm") == []
    loaded_again(shop, path)
    assert shop.server.sql(f"CHECKSUM TABLE {FIRST}", "crm") == there
    assert shop.server.sql(f"SHOW CREATE TABLE {FIRST}", "crm") == made
