"""Every rendered statement and setting uses only what the MySQL 8.4 manual documents.

The list is ``tests/mysql_8_4.txt``, by page of the manual. That a real server takes what is
rendered is shown by the live tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stacks import plan, render, stack_file
from stacks.paths import GOLDEN

LIST = Path(__file__).with_name("mysql_8_4.txt")

RANGE = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2025-01",
    "count": 3,
}
HASH = {"partition_by": "hash", "column": "customer_id", "count": 4}

VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"orders": {"partition_by": "none"}},
    "range": {"orders": RANGE},
    "hash": {"orders": HASH},
    "key": {"orders": {**HASH, "partition_by": "key"}},
    "subpartitions": {"orders": {**RANGE, "subpartitions": 4}},
    "one_partition": {"orders": {**RANGE, "count": 1}},
    "other_names": {"name": "sales_crm", "memory_mib": 8192},
    "shards": {"shards": 3, "orders": HASH},
}


@cache
def allowed(kind: str) -> frozenset[str]:
    """The entries of every section of ``kind``."""
    entries, current = [], ""
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = line.strip("[]").split()[0]
        elif line and not line.startswith("#") and current == kind:
            entries.append(line)
    assert entries, f"{LIST.name} has no section of {kind}"
    return frozenset(entries)


def keywords() -> set[str]:
    return {entry.removesuffix(" (R)") for entry in allowed("keyword")}


def reserved() -> set[str]:
    marked = {entry.removesuffix(" (R)") for entry in allowed("keyword") if entry.endswith(" (R)")}
    return marked | allowed("reserved")


# --- What is rendered ----------------------------------------------------------------------------


def trees() -> Iterator[tuple[str, dict[str, str]]]:
    """Every stack's tree, and trees of each way to partition, by name."""
    renderer = render.Renderer()
    for stack in stack_file.names():
        yield stack, renderer.tree(plan.make(stack, stack_file.load(stack)))
    for name, database in VARIANTS.items():
        spec = stack_file.parse({"database": database}, "variant")
        yield name, renderer.tree(plan.make("variant", spec))


TREES = dict(trees())


def accounts(start_script: str) -> str:
    """The SQL in a start script, with what the shell puts in as a string literal."""
    found = re.search(r"<<SQL\n(.*?)\nSQL\n", start_script, re.DOTALL)
    assert found, "start.sh has no SQL between <<SQL and SQL"
    # A quoted name would else be a command to the shell.
    assert not re.search(r"(?<!\\)`", found[1])
    return re.sub(r"\$\(secret \w+\)", "'a secret'", found[1]).replace("\\`", "`")


def statements(sql: str) -> list[str]:
    """The statements of ``sql``; each ends in ``;`` at the end of a line."""
    text = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    parts = re.split(r";[ \t]*(?:\n|\Z)", text)
    assert parts[-1].strip() == "", f"no `;` at the end of {parts[-1]!r}"
    return [part.strip() for part in parts[:-1]]


STATEMENTS = sorted(
    {
        statement
        for files in TREES.values()
        for sql in (files["mysql/schema.sql"], accounts(files["mysql/start.sh"]))
        for statement in statements(sql)
    }
)

# --- Reading SQL ---------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s+|('(?:[^'\\]|\\.|'')*')|([A-Za-z_][A-Za-z0-9_]*|`[a-z0-9_]+`)|(\d+)|([(),.=@*])"
)


def tokens(sql: str) -> list[str]:
    """Words, quoted names, numbers and signs of ``sql``; strings as ``'…'``."""
    found, at = [], 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        assert match, f"not understood: {sql[at : at + 40]!r}"
        at = match.end()
        if match[1]:
            found.append("'…'")
        elif match[0].strip():
            found.append(match[0])
    return found


def forms(words: list[str]) -> tuple[str, list[str]]:
    """The form of a statement or item, and the forms of all items in its parentheses.

    Keywords are written in capitals here, names in small letters, so a word is one or the other.
    """
    outer: list[str] = []
    items: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word != "(":
            is_sign_or_keyword = word in "(),.=@*" or (word.isupper() and word[0].isalpha())
            outer.append(word if is_sign_or_keyword else "…")
            continue
        depth = 1
        item: list[str] = []
        while depth:
            word = words[at]
            at += 1
            depth += (word == "(") - (word == ")")
            if depth == 0 or (depth == 1 and word == ","):
                form, inner = forms(item)
                items += [form, *inner]
                item = []
            else:
                item.append(word)
        outer += ["(", "…", ")"]
    return " ".join(outer), items


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: " ".join(s.split())[:50])
def test_statement_uses_only_what_is_documented_for_8_4(statement: str) -> None:
    words = tokens(statement)
    form, items = forms(words)
    assert form in allowed("form")
    assert set(items) <= allowed("item")
    shouted = {word for word in words if word.isupper() and word[0].isalpha()}
    assert shouted <= keywords()
    names = {word for word in words if word[0].isalpha() and not word.isupper()}
    assert not {name.upper() for name in names} & reserved()


@pytest.mark.parametrize("statement", [s for s in STATEMENTS if s.startswith("CREATE TABLE")])
def test_column_types_and_engine_are_documented_for_8_4(statement: str) -> None:
    columns = re.findall(r"^    [a-z_]+ ([A-Z]+)", statement, re.MULTILINE)
    assert columns
    assert set(columns) <= allowed("type")
    assert re.findall(r"ENGINE = (\w+)", statement) == ["InnoDB"]
    assert allowed("engine") == {"InnoDB"}


def test_every_kind_of_statement_is_seen() -> None:
    # Were nothing extracted, nothing would be refused.
    seen = {forms(tokens(statement))[0] for statement in STATEMENTS}
    assert seen == allowed("form"), "an entry nobody uses any more may go from the list"


def test_partitioned_by_range_uses_columns_and_has_no_foreign_key() -> None:
    # RANGE over a DATE with string bounds is error 1697, a foreign key error 1506.
    for name, files in TREES.items():
        sql = files["mysql/schema.sql"]
        assert not re.search(r"PARTITION BY RANGE \(", sql), name
        assert "FOREIGN KEY" not in sql, name


def test_database_may_have_a_name_that_is_a_word_of_mysqls() -> None:
    spec = stack_file.parse({"database": {"name": "select", "backup": {}}}, "dev")
    script = render.Renderer().tree(plan.make("dev", spec))["mysql/start.sh"]
    named = [words for sql in statements(accounts(script)) for words in [tokens(sql)]]
    assert not [words for words in named if "select" in words]
    assert len([words for words in named if "`select`" in words]) == 4


def test_schema_can_be_carried_out_again() -> None:
    for statement in STATEMENTS:
        if statement.startswith("CREATE"):
            assert " IF NOT EXISTS " in statement


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE IF NOT EXISTS a (b VECTOR(3) NOT NULL) ENGINE = InnoDB",
        "CREATE TABLE IF NOT EXISTS a (b JSON) ENGINE = InnoDB",
        "CREATE OR REPLACE TABLE a (b INT UNSIGNED NOT NULL) ENGINE = InnoDB",
        "DROP TABLE a",
        "CREATE TABLE IF NOT EXISTS a (b BIGINT NOT NULL) ENGINE = InnoDB PARTITION BY RANGE (b)",
    ],
)
def test_statement_beyond_the_list_would_be_refused(statement: str) -> None:
    form, items = forms(tokens(statement))
    assert form not in allowed("form") or not set(items) <= allowed("item")


# --- my.cnf --------------------------------------------------------------------------------------


def settings(text: str) -> dict[str, str]:
    """The settings of a ``my.cnf``, which has one section."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "[mysqld]"
    found: dict[str, str] = {}
    for line in lines[1:]:
        name, equals, value = line.partition("  #")[0].partition(" = ")
        assert equals, line
        assert name not in found, f"{name} is written twice"
        found[name] = value
    return found


def test_settings_are_documented_for_8_4() -> None:
    used = {
        name
        for files in TREES.values()
        for path, text in files.items()
        if path.endswith("/my.cnf")
        for name in settings(text)
    }
    variables = set(re.findall(r"SET SESSION (\w+)", "\n".join(STATEMENTS)))
    assert variables == {"sql_log_bin"}
    assert used | variables == allowed("setting"), "unknown to the list, or listed and unused"


def test_sql_modes_and_character_sets_are_documented_for_8_4() -> None:
    for files in TREES.values():
        for path, text in files.items():
            if path.endswith("/my.cnf"):
                line = settings(text)
                assert set(line["sql_mode"].split(",")) == allowed("mode")
                assert line["character_set_server"] in allowed("charset")
        assert set(re.findall(r"CHARACTER SET (\w+)", files["mysql/start.sh"])) == {"utf8mb4"}


def test_list_names_pages_of_the_manual() -> None:
    text = LIST.read_text(encoding="utf-8")
    assert "https://dev.mysql.com/doc/refman/8.4/en/" in text
    headings = re.findall(r"^\[.*$", text, re.MULTILINE)
    assert all(re.fullmatch(r"\[[a-z]+ [a-z0-9-]+\.html\]", heading) for heading in headings)


def test_statements_of_the_reviewed_trees_are_among_those_checked() -> None:
    for path in sorted(GOLDEN.glob("*/mysql/schema.sql")):
        assert set(statements(path.read_text(encoding="utf-8"))) <= set(STATEMENTS), path
