"""The rules of CREATE TABLE, in the order in which the server asks them. One function each."""

from __future__ import annotations

from collections.abc import Callable

from stacks.sql_lint import (
    rules_bounds,
    rules_columns,
    rules_functions,
    rules_keys,
    rules_lists,
)
from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.rules_keys import of_version

__all__ = ["OF_ALTER", "TAKEN", "first", "no_columns", "of_elsewhere", "of_version"]

Rule = Callable[[Table], Problem | None]

READING: tuple[Rule, ...] = (
    rules_keys.engine_there,
    rules_functions.random,
    rules_lists.subpartitions_of_what,
    rules_lists.defined,
    rules_lists.wrong_values,
    rules_lists.values_missing,
    rules_lists.rows,
    rules_lists.widths,
    rules_lists.maxvalue_last,
    rules_lists.numbers_agree,
    rules_lists.subpartitions_even,
)
RESOLVING: tuple[Rule, ...] = (
    rules_functions.fields,
    rules_functions.allowed,
    rules_bounds.null,
    rules_bounds.column_in_bound,
    rules_bounds.integers,
)
DEFINING: tuple[Rule, ...] = (
    rules_keys.temporary,
    rules_keys.engine,
    rules_lists.too_many,
    rules_lists.names,
    rules_lists.engines,
    rules_columns.names,
    rules_columns.incremented,
    rules_columns.defaults,
    rules_columns.twice,
    rules_keys.each,
    rules_keys.auto_increment,
    rules_keys.foreign,
    rules_keys.fulltext,
    rules_keys.geometry,
)
PLACING: tuple[Rule, ...] = (
    rules_functions.known_columns,
    rules_functions.default_key,
    rules_functions.blobs,
    rules_functions.column_types,
    rules_bounds.column_values,
    rules_functions.constant,
    rules_functions.result_type,
    rules_bounds.domain,
    rules_bounds.order,
    rules_bounds.once,
    rules_functions.bare_type,
    rules_keys.unique,
)
OF_ALTER = (rules_keys.engine_there, *DEFINING, *PLACING)
TAKEN = (*READING, *RESOLVING, rules_lists.too_many, rules_lists.names)
"""Asked before the server looks whether there is such a table already."""
RULES = (*READING, *RESOLVING, *DEFINING, *PLACING)
ELSEWHERE: tuple[Rule, ...] = (
    *READING,
    *RESOLVING,
    rules_lists.too_many,
    rules_lists.names,
    rules_bounds.order,
    rules_bounds.once,
)
"""Asked of what is done to a table whose columns are not known."""


def first(table: Table) -> Problem | None:
    """The first thing that the server would refuse."""
    return next((problem for rule in RULES if (problem := rule(table))), None)


def of_elsewhere(table: Table) -> Problem | None:
    """The first that it would refuse whatever the table's columns are."""
    return next((problem for rule in ELSEWHERE if (problem := rule(table))), None)


def no_columns(table: Table) -> Problem | None:
    """A table has a column at least."""
    return None if table.columns else Problem(4028, f"{table.name} has no column")
