"""The clause PARTITION BY. Its grammar is known to the end: what is not in it is error 1064."""

from __future__ import annotations

from collections.abc import Sequence

from stacks.sql_lint.expressions import Node, read
from stacks.sql_lint.model import Bound, Partition, Scheme, Span
from stacks.sql_lint.reader import SYNTAX, Cursor, RefusedError, Token, parts

METHODS = ("RANGE", "LIST", "HASH", "KEY")


def span(row: Sequence[Token]) -> Span:
    return row[0].start, row[-1].end


def scheme(cursor: Cursor, text: str) -> Scheme:
    """What follows PARTITION BY. Raises ``RefusedError``."""
    found = _method(cursor, sub=False)
    if cursor.take("PARTITIONS"):
        found.number, found.number_span = _number(cursor, "partitions")
    if cursor.take("SUBPARTITION"):
        cursor.need("BY")
        found.sub = _method(cursor, sub=True)
        if cursor.take("SUBPARTITIONS"):
            found.sub.number, found.sub.number_span = _number(cursor, "subpartitions")
        if found.method in ("HASH", "KEY"):
            raise RefusedError(1500, "only RANGE and LIST can have subpartitions")
    if cursor.at("("):
        start = cursor.peek().start
        found.partitions = partitions(cursor.inner(), text)
        found.list_span = (start, cursor.row[cursor.place - 1].end)
    return found


def _number(cursor: Cursor, what: str) -> tuple[int, Span]:
    place = (cursor.peek().start, cursor.peek().end)
    number = cursor.number()
    if number == 0:
        raise RefusedError(1504, f"the number of {what} is 0; write 1 or more")
    return number, place


def _method(cursor: Cursor, sub: bool) -> Scheme:
    start = cursor.peek().start
    linear = cursor.take("LINEAR")
    method = cursor.next().value
    if method not in METHODS:
        raise RefusedError(SYNTAX, f"`{method}` is no way of partitioning; there are {_METHODS}")
    if sub and method in ("RANGE", "LIST"):
        raise RefusedError(
            SYNTAX, f"SUBPARTITION BY {method}: subpartitions are by HASH or KEY only"
        )
    if linear and method in ("RANGE", "LIST"):
        raise RefusedError(SYNTAX, f"LINEAR {method}: only HASH and KEY can be LINEAR")
    if method == "KEY" and cursor.take("ALGORITHM"):
        cursor.need("=")
        if cursor.number() not in (1, 2):
            raise RefusedError(SYNTAX, "the ALGORITHM of KEY is 1 or 2")
    columns = method in ("RANGE", "LIST") and cursor.take("COLUMNS")
    opening = cursor.need("(")
    cursor.place -= 1
    inner = cursor.group()
    closing = cursor.row[cursor.place - 1]
    found = Scheme(method, columns, (start, closing.end), (opening.end, closing.start))
    if not columns and method != "KEY":
        if len(parts(inner)) > 1:
            raise RefusedError(SYNTAX, f"{method} takes one expression; {_of_many(method)}")
        found.node = read(inner)
        return found
    if not inner and (columns or sub):
        raise RefusedError(SYNTAX, "no column is named")
    for part in parts(inner):
        named = Cursor(part)
        found.names.append(named.raw_name())
        if not named.done:
            what = f"{method}{' COLUMNS' * columns}"
            raise RefusedError(SYNTAX, f"{what} takes columns, no expression")
    return found


_METHODS = "RANGE, LIST, HASH and KEY"


def _of_many(method: str) -> str:
    return "KEY takes several columns" if method == "HASH" else f"{method} COLUMNS takes several"


def partitions(inner: Cursor, text: str) -> list[Partition]:
    """What stands between the parentheses: PARTITION p0 VALUES …, PARTITION …"""
    if inner.done:
        raise RefusedError(SYNTAX, "no partition stands between the parentheses")
    return [_partition(row, text) for row in parts(inner.row)]


def _partition(row: list[Token], text: str) -> Partition:
    if not row:
        raise RefusedError(SYNTAX, "a comma, and no partition where one is due")
    cursor = Cursor(row)
    cursor.need("PARTITION")
    named = cursor.name()
    found = Partition(named.raw, span(row), (named.start, named.end))
    start = cursor.peek().start
    if cursor.take("VALUES"):
        if cursor.take("IN"):
            found.kind = "in"
            _listed(found, cursor.inner(), text)
        else:
            cursor.need("LESS", "THAN")
            found.kind = "less"
            _less(found, cursor, text)
    found.values_span = (start, cursor.row[cursor.place - 1].end)
    _options(found, cursor)
    if cursor.at("("):
        found.has_subs = True
        for sub in parts(cursor.group()) or [[]]:
            inside = Cursor(sub)
            inside.need("SUBPARTITION")
            found.subs.append(inside.name().raw)
            of_sub = Partition("", (0, 0), (0, 0))
            _options(of_sub, inside)
            found.sub_engines.append(of_sub.engine)
            inside.end()
    if not cursor.done:
        raise RefusedError(SYNTAX, f"`{cursor.stands}` in partition {found.name}")
    return found


def _less(found: Partition, cursor: Cursor, text: str) -> None:
    if cursor.at("MAXVALUE"):
        token = cursor.next()
        found.bare_maxvalue = True
        found.rows = [[Bound(None, (token.start, token.end), "MAXVALUE")]]
        return
    if not cursor.at("("):
        why = f"partition {found.name}: the value after LESS THAN stands in parentheses"
        raise RefusedError(SYNTAX, why)
    found.rows = [[_bound(value, text) for value in parts(cursor.group()) or [[]]]]


def _listed(found: Partition, inner: Cursor, text: str) -> None:
    for value in parts(inner.row) or [[]]:
        if value and value[0].value == "(" and _is_tuple(value):
            found.tuples = True
            row = Cursor(value).group()
            found.rows.append([_bound(one, text) for one in parts(row)])
        else:
            found.rows.append([_bound(value, text)])


def _options(found: Partition, cursor: Cursor) -> None:
    while not cursor.done and not cursor.at("("):
        start = cursor.peek().start
        if cursor.at("STORAGE") or cursor.at("ENGINE"):
            cursor.take("STORAGE")
            cursor.need("ENGINE")
            cursor.take("=")
            found.engine = cursor.word().upper()
            found.engine_span = (start, cursor.row[cursor.place - 1].end)
        elif cursor.take("DATA") or cursor.take("INDEX"):
            cursor.need("DIRECTORY")
            cursor.take("=")
            _text(cursor)
        elif cursor.take("COMMENT"):
            cursor.take("=")
            _text(cursor)
        elif cursor.take("MAX_ROWS") or cursor.take("MIN_ROWS") or cursor.take("NODEGROUP"):
            cursor.take("=")
            cursor.number()
        elif cursor.take("TABLESPACE"):
            cursor.take("=")
            cursor.name()
        else:
            return


def _text(cursor: Cursor) -> None:
    if cursor.next().kind != "string":
        cursor.place -= 1
        raise RefusedError(SYNTAX, f"a string expected where `{cursor.stands}` stands")


def _is_tuple(row: list[Token]) -> bool:
    cursor = Cursor(row)
    inner = cursor.group()
    return cursor.done and len(parts(inner)) > 1


def _bound(row: list[Token], text: str) -> Bound:
    if not row:
        raise RefusedError(SYNTAX, "a value is missing")
    place = span(row)
    node: Node | None = None
    if not (len(row) == 1 and row[0].kind == "word" and row[0].value == "MAXVALUE"):
        node = read(row)
    return Bound(node, place, text[place[0] : place[1]])
