# ruff: noqa: S608 - names come from the server itself
"""Archived tables as files: written, read back and compared before a table may go.

A file is compressed SQL that makes the table and its rows again. Each row is one line, and a sum
over these lines is worked out twice: by the server over what it has, and here over what is in the
file. It is 64 bits of SHA-256 of each row, added: the same in whatever order rows are read, and a
row that is there twice does not cancel itself out.
"""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from pymysql.cursors import SSCursor

from crm.errors import CrmError
from crm.files import sha256_of, sync

# The keeper's own volume.
FOLDER = Path("/data")
# A statement's, and one row: well below what a server takes at once (max_allowed_packet).
CHARACTERS_AT_ONCE = 1 << 20
SESSION = "SET SESSION time_zone = '+00:00', max_execution_time = 0"
# Written as hexadecimal digits. A table that was partitioned has no spatial ones (error 1178).
BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"}


class Measure(Struct, frozen=True):
    """How many rows, and the sum over them."""

    rows: int
    sum: int


def files(folder: Path, table: str) -> list[Path]:
    """The whole files of ``table``, each of which was compared with it when it was written."""
    found = sorted(folder.glob(f"{table}.*.sql.gz"))
    return [path for path in found if _checksum(path).is_file()]


def measured(cursor: Any, table: str) -> Measure:
    """What ``table`` has, as the server counts it."""
    cursor.execute(SESSION)
    return _measured(cursor, table, _columns(cursor, table))


def ensure(cursor: Any, folder: Path, table: str) -> Measure:
    """See that a file in ``folder`` holds just what ``table`` has; returns how much that is.

    It is written if it is not there, and read back whatever it is. Raises CrmError where it is not
    equal, or cannot be written.
    """
    cursor.execute(SESSION)
    columns = _columns(cursor, table)
    there = _measured(cursor, table, columns)
    path = folder / f"{table}.{there.rows}-{there.sum:x}.sql.gz"
    try:
        if not (_is_as_written(path) and read_back(path) == there):
            _write(cursor, path, table, columns, there)
    except OSError as error:
        raise CrmError(
            f"{table}: cannot be written to {path} ({error.strerror or error}): the table "
            "stays; make room there, and the next run goes on from here"
        ) from error
    return there


def read_back(path: Path) -> Measure:
    """What is in a file, row by row. Raises CrmError for one that is damaged, or not whole."""
    rows = total = 0
    last = b""
    inside = False
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                last = line = line.rstrip(b"\n")
                if inside and line != b";":
                    rows += 1
                    total += _weight(line.removeprefix(b",")[1:-1])
                else:
                    inside = line.startswith(b"INSERT INTO ")
    except (OSError, EOFError, zlib.error) as error:
        raise CrmError(f"{path}: is damaged ({error})") from error
    if last.decode(errors="replace") != _end(Measure(rows, total)):
        raise CrmError(f"{path}: is not whole, or its rows are not those that were written")
    return Measure(rows, total)


def _write(cursor: Any, path: Path, table: str, columns: dict[str, str], there: Measure) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            # Without a time and a name, equal rows are equal files.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                for line in _lines(cursor, table, columns, there):
                    packed.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        read_back(new)  # its last line says what the server counted
        checksum = _checksum(path)
        checksum.write_text(f"{sha256_of(new)}  {path.name}\n", encoding="ascii")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    for each in (checksum, path.parent):
        sync(each)


def _lines(cursor: Any, table: str, columns: dict[str, str], there: Measure) -> Iterator[str]:
    cursor.execute(f"SHOW CREATE TABLE `{table}`")
    made = re.sub("^CREATE TABLE", "CREATE TABLE IF NOT EXISTS", cursor.fetchone()[1])
    yield f"-- {table}, archived. To load it: gunzip -c FILE | mysql DATABASE"
    yield "SET NAMES utf8mb4;"
    yield "SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO';"
    yield f"{made};"
    insert = f"INSERT INTO `{table}` ({', '.join(f'`{name}`' for name in columns)}) VALUES"
    size = 0
    with cursor.connection.cursor(SSCursor) as reading:
        reading.execute(f"SELECT {_row(columns)} FROM `{table}`")
        for (text,) in reading:
            if text is None:
                raise CrmError(
                    f"{table}: a row is longer than the server's max_allowed_packet; "
                    "the table stays"
                )
            first = size == 0 or size > CHARACTERS_AT_ONCE
            if first:
                yield from ([";"] if size else [])
                yield insert
                size = 0
            yield f"{'' if first else ','}({text})"
            size += len(text)
    if size:
        yield ";"
    yield _end(there)


def _end(measure: Measure) -> str:
    return f"-- whole: {measure.rows} rows, sum {measure.sum:x}"


def _measured(cursor: Any, table: str, columns: dict[str, str]) -> Measure:
    """What the server has."""
    first = f"CONV(LEFT(SHA2({_row(columns)}, 256), 16), 16, 10)"
    total = f"IFNULL(SUM(CAST({first} AS UNSIGNED)), 0)"
    cursor.execute(f"SELECT COUNT(*), {total} FROM `{table}`")
    rows, found = cursor.fetchone()
    return Measure(int(rows), int(found))


def _weight(row: bytes) -> int:
    return int.from_bytes(hashlib.sha256(row).digest()[:8])


def _columns(cursor: Any, table: str) -> dict[str, str]:
    """Name → type, in their order; what the server works out itself is left out."""
    cursor.execute(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND GENERATION_EXPRESSION = '' "
        "ORDER BY ORDINAL_POSITION",
        (table,),
    )
    return {str(name): str(kind).lower() for name, kind in cursor.fetchall()}


def _row(columns: dict[str, str]) -> str:
    """The expression of a row's values as SQL has them, on one line."""
    listed = ", ".join(_literal(f"`{name}`", kind) for name, kind in columns.items())
    return f"CONVERT(CONCAT_WS(',', {listed}) USING utf8mb4)"


def _literal(column: str, kind: str) -> str:
    if kind in BINARY:
        return f"IFNULL(CONCAT('X''', HEX({column}), ''''), 'NULL')"
    if kind == "bit":
        return f"IFNULL(CONCAT('b''', BIN({column} + 0), ''''), 'NULL')"
    if kind == "float":
        # Six digits, as a FLOAT is shown else, are not all of it.
        return f"QUOTE(CAST({column} AS DOUBLE))"
    return rf"REPLACE(REPLACE(QUOTE({column}), '\n', '\\n'), '\r', '\\r')"


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_as_written(path: Path) -> bool:
    if not (path.is_file() and _checksum(path).is_file()):
        return False
    return _checksum(path).read_text("ascii", "replace").split()[:1] == [sha256_of(path)]
