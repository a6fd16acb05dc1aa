"""What is known of a table: columns, keys, foreign keys and how it is partitioned.

A ``Span`` is the place in the statement's text, for corrections.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stacks.sql_lint.expressions import Node

Span = tuple[int, int]


@dataclass
class Column:
    name: str
    type: str
    length: int | None = None
    unsigned: bool = False
    not_null: bool = False
    auto_increment: bool = False
    collation: str = ""
    key_span: Span | None = None
    key_kind: str = ""
    reference: str = ""
    reference_span: Span | None = None


@dataclass
class Key:
    """``kind``: primary, unique, key, fulltext, spatial. ``parts``: column (None: an expression),
    and whether only its beginning is in the key."""

    kind: str
    name: str
    parts: list[tuple[str | None, bool]]
    span: Span
    part_spans: list[Span]
    inline: bool = False

    def holds(self, column: str) -> bool:
        return any(
            name is not None and name.lower() == column.lower() and not prefix
            for name, prefix in self.parts
        )


@dataclass
class Foreign:
    name: str
    target: str
    span: Span
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
    name: str
    columns: list[Column] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    scheme: Scheme | None = None
    engine: str = "INNODB"
    engine_span: Span = (0, 0)
    temporary: bool = False
    collation: str = ""
    body_end: int = 0

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    def type_of(self, name: str) -> str:
        """The type of a column, "" where there is none."""
        found = self.column(name)
        return found.type if found else ""
