"""What the statements so far have made: tables by schema and name, for one connection."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Name

Known = dict[Name, Table | None]


class Catalog:
    """``tables`` and ``temporary``: None for one that is there and not understood. ``gone``:
    dropped and not made again. ``schema``: what USE said, "" before it. ``checks``: the server's
    foreign_key_checks; ``ansi``: ANSI_QUOTES in sql_mode. ``file``: the number of the one read."""

    def __init__(self) -> None:
        self.tables: Known = {}
        self.temporary: Known = {}
        self.gone: set[Name] = set()
        self.schemas: set[str] = set()
        self.schemas_gone: set[str] = set()
        self.schema = ""
        self.lost = False
        self.checks = True
        self.ansi = False
        self.file = 0

    def next_file(self) -> None:
        """Each file is a connection of its own, perhaps to another database: its tables stay for
        what refers to them, and nothing else."""
        self.file += 1
        self.tables = {name: table for name, table in self.tables.items() if table}
        self.gone, self.schemas, self.schemas_gone = set(), set(), set()
        self.temporary = {}
        self.schema, self.lost, self.checks, self.ansi = "", False, True, False

    def copy(self) -> Catalog:
        """Another of the same tables, which are not copied themselves: see ``own``."""
        made = copy.copy(self)
        made.tables, made.temporary = dict(self.tables), dict(self.temporary)
        made.gone, made.schemas = set(self.gone), set(self.schemas)
        made.schemas_gone = set(self.schemas_gone)
        return made

    def take(self, other: Catalog) -> None:
        """Become what ``other`` is."""
        self.__dict__.update(other.__dict__)

    def holds(self, name: Name) -> bool:
        return name in self.temporary or name in self.tables

    def get(self, name: Name) -> Table | None:
        """The table, a temporary one before another of the same name."""
        return self.temporary[name] if name in self.temporary else self.tables.get(name)

    def own(self, name: Name) -> Table | None:
        """The table, to be changed: a copy in the place of the one that others have too."""
        table = copy.deepcopy(self.get(name))
        if table is not None:
            self.put(name, table, name in self.temporary)
        return table

    def put(self, name: Name, table: Table | None, temporary: bool = False) -> None:
        (self.temporary if temporary else self.tables)[name] = table
        if not temporary:
            self.gone.discard(name)

    def drop(self, name: Name, temporary_only: bool = False) -> None:
        if name in self.temporary:
            del self.temporary[name]
        elif not temporary_only:
            self.tables.pop(name, None)
            self.gone.add(name)

    def drop_schema(self, schema: str) -> None:
        for name in [name for name in self.tables if name.schema == schema]:
            del self.tables[name]
        self.schemas.discard(schema)
        self.schemas_gone.add(schema)
        self.lost = self.lost or schema == self.schema != ""

    def made_here(self, name: Name) -> bool:
        """Whether the file that is read made it, rather than one before."""
        table = self.get(name)
        return self.holds(name) and (table is None or table.file == self.file)

    def absent(self, name: Name) -> Problem | None:
        """1146 or the like where it is certain that there is no such table."""
        if missing := self.no_schema(name):
            return missing
        if name in self.gone and not self.holds(name):
            return Problem(1146, f"there is no table {name.table} any more: it has been dropped")
        return None

    def no_schema(self, name: Name) -> Problem | None:
        if name.schema in self.schemas_gone:
            if name.schema == self.schema and self.lost:
                return Problem(1046, f"no database is selected: {name.schema} has been dropped")
            return Problem(1049, f"there is no database {name.schema}: it has been dropped")
        return None

    def children(self, name: Name) -> Iterator[Table]:
        """The tables with a foreign key to ``name``, itself left out."""
        for other, table in self.tables.items():
            if table and other != name and any(one.target == name for one in table.foreign):
                yield table
