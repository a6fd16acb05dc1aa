"""ALTER TABLE on a table that none of the files has made: what is certain of it all the same."""

from __future__ import annotations

from stacks.sql_lint import alter_partitions, exchange, rules
from stacks.sql_lint.alter import modifiers, split
from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import SYNTAX, Cursor, RefusedError
from stacks.sql_lint.schemes import scheme


def judge(table: Table, cursor: Cursor, text: str) -> tuple[Problem | None, str]:
    """What the server would refuse whatever the columns of ``table`` are, and advice: "" where
    nothing is said of partitions."""
    note = f"{table.name} was made elsewhere: not judged against its columns and partitions"
    modifiers(cursor)
    if cursor.take("EXCHANGE"):
        return exchange.judge(table, cursor, None), note
    if alter_partitions.begins(cursor):
        return alter_partitions.change(table, cursor, text), note
    row, clause = split(cursor)
    if row and row[0].value == "PARTITION" and row[0].kind == "word":
        raise RefusedError(SYNTAX, "PARTITION without BY")
    if clause.done:
        return None, ""
    if clause.take("REMOVE"):
        clause.need("PARTITIONING")
        clause.end()
        return None, note
    clause.need("PARTITION", "BY")
    table.scheme = scheme(clause, text)
    clause.end()
    problem = rules.of_elsewhere(table)
    return problem, note
