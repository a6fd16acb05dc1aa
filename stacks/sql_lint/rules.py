"""The rules of CREATE TABLE, in the order in which the server asks them. One function each."""

from __future__ import annotations

from collections.abc import Callable

from stacks.sql_lint import rules_bounds, rules_functions, rules_keys, rules_lists
from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem

Rule = Callable[[Table], Problem | None]

PARSING: tuple[Rule, ...] = (
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
"""Asked of what is never carried out as well: CREATE TABLE IF NOT EXISTS of one that is there."""
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
    rules_keys.column_twice,
    rules_keys.one_primary_key,
    rules_keys.key_columns,
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
RULES = (*PARSING, *RESOLVING, *DEFINING, *PLACING)


def first(table: Table) -> Problem | None:
    """The first thing that the server would refuse."""
    return next((problem for rule in RULES if (problem := rule(table))), None)
