"""What is known of a table: columns, keys, foreign keys and how it is partitioned.

A ``Span`` is the place in the statement's text, for corrections.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stacks.sql_lint.expressions import Node
from stacks.sql_lint.reader import Name

Span = tuple[int, int]


@dataclass
class Column:
    """``length``: what stands in parentheses behind the type, 1 for CHAR alone, None where nothing
    does. ``null``: whether NULL is written, and where; ``default_null`` likewise. ``generated``:
    VIRTUAL, STORED or ""."""

    name: str
    type: str
    length: int | None = None
    unsigned: bool = False
    not_null: bool = False
    auto_increment: bool = False
    collation: str = ""
    said_not_null: bool = False
    null: bool = False
    null_span: Span = (-1, -1)
    default_null: bool = False
    defaulted: bool = False
    default_span: Span = (-1, -1)
    generated: str = ""
    end: int = -1


@dataclass
class Key:
    """``kind``: primary, unique, key, fulltext, spatial. ``parts``: column (None: an expression),
    and how much of its beginning is in the key, 0 for all of it. ``named``: whether a person gave
    the name."""

    kind: str
    name: str
    parts: list[tuple[str | None, int]]
    span: Span
    part_spans: list[Span]
    inline: bool = False
    named: bool = True

    def holds(self, column: str) -> bool:
        return any(
            name is not None and name.lower() == column.lower() and not prefix
            for name, prefix in self.parts
        )


@dataclass
class Foreign:
    """``columns``: its own; empty where they cannot be missing."""

    name: str
    target: Name
    span: Span
    columns: list[str] = field(default_factory=list)
    inline: bool = False


@dataclass
class Bound:
    """One value: ``node`` is None for MAXVALUE."""

    node: Node | None
    span: Span
    text: str


@dataclass
class Partition:
    """``kind``: less, in, or empty. ``rows``: each value of VALUES IN, one for VALUES LESS THAN;
    a row has a value for each column."""

    name: str
    span: Span
    name_span: Span
    kind: str = ""
    rows: list[list[Bound]] = field(default_factory=list)
    values_span: Span = (0, 0)
    bare_maxvalue: bool = False
    tuples: bool = False
    subs: list[str] = field(default_factory=list)
    has_subs: bool = False
    engine: str = ""
    engine_span: Span = (0, 0)
    sub_engines: list[str] = field(default_factory=list)

    @property
    def is_maxvalue(self) -> bool:
        return self.kind == "less" and all(b.node is None for b in self.rows[0])


@dataclass
class Scheme:
    """``method``: RANGE, LIST, HASH or KEY. ``by``: the span from the method to its closing
    parenthesis. ``names``: the columns of COLUMNS and KEY."""

    method: str
    columns: bool
    by: Span
    inner: Span
    node: Node | None = None
    names: list[str] = field(default_factory=list)
    number: int | None = None
    number_span: Span = (0, 0)
    partitions: list[Partition] = field(default_factory=list)
    sub: Scheme | None = None
    list_span: Span = (0, 0)
    commas: bool = False

    @property
    def used(self) -> list[str]:
        """The columns that decide on the partition."""
        own = self.names if self.node is None else self.node.columns
        return list(dict.fromkeys([*own, *(self.sub.used if self.sub else [])]))

    @property
    def names_of_all(self) -> list[str]:
        """Partitions and subpartitions, with the names that the server gives those without."""
        found = [p.name for p in self.partitions] or [f"p{i}" for i in range(self.count)]
        if self.sub is None:
            return found
        named = {p.name: p.subs for p in self.partitions if p.subs}
        each = [f"sp{i}" for i in range(self.subs)]
        return [*found, *(s for p in found for s in named.get(p) or [f"{p}{e}" for e in each])]

    @property
    def count(self) -> int:
        """How many partitions, without subpartitions."""
        return len(self.partitions) or self.number or 1

    @property
    def subs(self) -> int:
        """How many subpartitions each has; 1 where there are none."""
        if self.sub is None:
            return 1
        return max([self.sub.number or 1, *(len(p.subs) for p in self.partitions)])


@dataclass
class Table:
    """``elsewhere``: made outside of what is read, so its columns and partitions are not known.
    ``file``: the number of the one that made it. ``indexed``: whether it has had foreign keys, for
    which the server makes indexes of its own."""

    name: str
    columns: list[Column] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    scheme: Scheme | None = None
    engine: str = "INNODB"
    engine_said: bool = False
    engine_span: Span = (0, 0)
    temporary: bool = False
    collation: str = ""
    body_end: int = 0
    schema: str = ""
    elsewhere: bool = False
    file: int = 0
    indexed: bool = False
    row_format: str = ""

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    def has_fraction(self, name: str) -> bool:
        """Whether of a column's time the fraction of a second is kept."""
        found = self.column(name)
        return bool(found and found.length)

    def is_unsigned(self, name: str) -> bool:
        """Whether a column holds no negative number."""
        found = self.column(name)
        return bool(found and (found.unsigned or found.type in ("BIT", "YEAR")))

    def type_of(self, name: str) -> str:
        """The type of a column, "" where there is none."""
        found = self.column(name)
        return found.type if found else ""
