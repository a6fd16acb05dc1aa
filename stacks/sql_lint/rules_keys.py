"""Keys, foreign keys and engines of a table, as far as its partitions care."""

from __future__ import annotations

from stacks.sql_lint.model import Column, Foreign, Key, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.rules_columns import in_primary, never_null
from stacks.sql_lint.rules_lists import quoted
from stacks.sql_lint.types_of import BLOBS, GEOMETRIES, TEXTS

ENGINES = frozenset(
    [
        "INNODB",
        "MYISAM",
        "MEMORY",
        "HEAP",
        "CSV",
        "ARCHIVE",
        "BLACKHOLE",
        "MERGE",
        "MRG_MYISAM",
        "PERFORMANCE_SCHEMA",
        "DEFAULT",
    ]
)
"""Those of MySQL 9.7.4 that SHOW ENGINES has as available."""


def engine_there(table: Table) -> Problem | None:
    """Each engine that is named is one the server has."""
    said = [table.engine] if table.engine_said else []
    for partition in table.scheme.partitions if table.scheme else ():
        said += [partition.engine, *partition.sub_engines]
    wrong = next((name for name in said if name and name not in ENGINES), None)
    if wrong:
        edits: tuple[Edit, ...] = ()
        if table.engine == wrong and table.engine_span[0] >= 0:
            edits = (Edit(*table.engine_span, "ENGINE = InnoDB"),)
        return Problem(1286, f"the server has no engine {wrong}", edits)
    return None


def temporary(table: Table) -> Problem | None:
    if table.scheme and table.temporary:
        return Problem(1562, "a temporary table cannot have partitions")
    return None


def engine(table: Table) -> Problem | None:
    if table.scheme and table.engine not in ("INNODB", "DEFAULT"):
        edits = (Edit(*table.engine_span, "ENGINE = InnoDB"),)
        number = 1572 if table.engine in ("CSV", "MERGE", "MRG_MYISAM") else 1178
        return Problem(number, f"{table.engine} has no partitions; InnoDB has", edits)
    return None


def each(table: Table) -> Problem | None:
    """Key after key, as the server does: name, columns, their types, and what a primary key asks of
    them."""
    for foreign in table.foreign:
        for name in foreign.columns:
            if table.column(name) is None:
                return Problem(1072, f"a foreign key: the table has no column {name}")
    taken: set[str] = set()
    for key in table.keys:
        if problem := _named(key, taken) or _of_columns(table, key):
            return problem
        taken.add(key.name.lower())
    return None


def _named(key: Key, taken: set[str]) -> Problem | None:
    name = key.name.lower()
    if key.kind == "primary":
        return Problem(1068, "there are two primary keys") if name in taken else None
    if name == "primary" or name.endswith(" "):
        return Problem(1280, f"no key can be called `{key.name}`")
    return Problem(1061, f"two keys are called {key.name}") if name in taken else None


def _of_columns(table: Table, key: Key) -> Problem | None:
    seen: set[str] = set()
    for name, length in key.parts:
        if name is None:
            continue
        column = table.column(name)
        if column is None:
            return Problem(1072, f"key {key.name}: the table has no column {name}")
        if name.lower() in seen:
            return Problem(1060, f"key {key.name}: column {name} is named twice")
        seen.add(name.lower())
        problem = None
        if key.kind not in ("fulltext", "spatial"):
            problem = _of_type(key, column, length)
        if key.kind == "primary":
            problem = problem or in_primary(column)
        if problem:
            return problem
    return None


def _of_type(key: Key, column: Column, length: int) -> Problem | None:
    what = f"key {key.name}: {column.name} is {column.type}"
    if column.type == "JSON":
        return Problem(3152, f"{what}, of which a generated column can be in a key")
    if column.type == "VECTOR":
        return Problem(6134, f"{what}, which no key takes")
    if column.type in BLOBS and not length:
        return Problem(
            1170, f"{what}: say how many characters are in the key, as {column.name}(20)"
        )
    if not length or column.type in GEOMETRIES:
        return None
    if column.type not in TEXTS and column.type not in BLOBS:
        return Problem(1089, f"{what}: only texts can be in a key with their beginning")
    if column.type in TEXTS and column.length is not None and length > column.length:
        return Problem(1089, f"{what}({column.length}), and {length} of it are to be in the key")
    return None


def auto_increment(table: Table) -> Problem | None:
    columns = [column for column in table.columns if column.auto_increment]
    if len(columns) > 1:
        return Problem(1075, "one column at most can have AUTO_INCREMENT")
    for column in columns:
        firsts = [key.parts[0][0] or "" for key in table.keys if key.kind != "fulltext"]
        if column.name.lower() not in [first.lower() for first in firsts]:
            kind = "KEY" if any(key.kind == "primary" for key in table.keys) else "PRIMARY KEY"
            rest = table.scheme.used if table.scheme and kind == "PRIMARY KEY" else []
            listed = _listed([column.name, *(n for n in rest if n.lower() != column.name.lower())])
            why = f"{column.name} has AUTO_INCREMENT, and no key begins with it"
            return Problem(1075, why, _added(table, f"{kind} ({listed})"))
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _added(table: Table, definition: str) -> tuple[Edit, ...]:
    return (Edit(table.body_end, table.body_end, f", {definition}"),) if table.body_end else ()


def foreign(table: Table) -> Problem | None:
    if table.scheme and table.foreign:
        return Problem(
            1506,
            f"a table with partitions takes no foreign key (here to {_target(table)}); "
            "leave it out and let the application keep the reference"
            + of_version(table.foreign[0]),
            tuple(without(f) for f in table.foreign),
        )
    return None


def _target(table: Table) -> str:
    return table.foreign[0].target.table


def of_version(definition: Foreign) -> str:
    """What is to be added of a foreign key that one version knows and another does not."""
    if definition.inline:
        return " (MySQL 9 says so; 8.4 passes over a REFERENCES beside a column, and keeps no key)"
    return ""


def without(definition: Foreign | Key) -> Edit:
    """Takes a definition out, with the comma before it (``GONE`` says so) where it is not a part of
    a column's."""
    return Edit(*definition.span, "" if definition.inline else GONE)


GONE = "\x01"


def fulltext(table: Table) -> Problem | None:
    found = [key for key in table.keys if key.kind == "fulltext"]
    if table.scheme and found:
        why = "a table with partitions has no FULLTEXT index"
        return Problem(1214, why, tuple(without(key) for key in found))
    return None


def geometry(table: Table) -> Problem | None:
    if table.scheme:
        for column in table.columns:
            if column.type in GEOMETRIES:
                return Problem(1178, f"{column.name}: a table with partitions has no {column.type}")
    return None


def unique(table: Table) -> Problem | None:
    """Each unique key has every column that decides on the partition, and whole."""
    if table.scheme is None:
        return None
    used = table.scheme.used or _default_key(table)
    # The primary key comes first, as in the server.
    for key in sorted(table.keys, key=lambda k: k.kind != "primary"):
        missing = [name for name in used if not key.holds(name)]
        if key.kind not in ("primary", "unique") or not missing:
            continue
        what = "the primary key" if key.kind == "primary" else f"unique key {key.name}"
        why = f"{what} lacks {', '.join(missing)}, which the partitions are made by"
        return Problem(1503, why, _widened(table, key, missing))
    return None


def _default_key(table: Table) -> list[str]:
    for kind in ("primary", "unique"):
        for key in table.keys:
            if key.kind == kind:
                return [name for name, _ in key.parts if name]
    return []


def _widened(table: Table, key: Key, missing: list[str]) -> tuple[Edit, ...]:
    unfit = [table.column(name) for name in missing]
    if key.kind == "primary" and any(c is None or c.generated == "VIRTUAL" for c in unfit):
        return ()
    never = [edit for c in unfit if c and key.kind == "primary" for edit in never_null(c)]
    if key.inline:
        word = "PRIMARY KEY" if key.kind == "primary" else "UNIQUE KEY"
        column = key.parts[0][0] or ""
        added = _added(table, f"{word} ({_listed([column, *missing])})")
        return (Edit(*key.span, ""), *added, *never) if added else ()
    edits = never
    absent = []
    for name in missing:
        for (part, _), place in zip(key.parts, key.part_spans, strict=True):
            if part is not None and part.lower() == name.lower():
                edits.append(Edit(*place, quoted(name)))
                break
        else:
            absent.append(name)
    if absent:
        end = key.part_spans[-1][1]
        edits.append(Edit(end, end, f", {_listed(absent)}"))
    return tuple(edits)
