"""How schema.sql becomes statements."""

import pytest

from crm.errors import CrmError
from crm.schema import split


def test_split_keeps_semicolons_inside_lines() -> None:
    script = """
-- A comment; with a semicolon;

CREATE TABLE a (
    -- inside
    name VARCHAR(9) DEFAULT ';' NOT NULL
);
CREATE TABLE b (id INT);
"""
    first, second = split(script)
    assert first.startswith("CREATE TABLE a (")
    assert "DEFAULT ';' NOT NULL" in first
    assert not first.endswith(";")
    assert second == "CREATE TABLE b (id INT)"


def test_split_refuses_a_statement_without_end() -> None:
    with pytest.raises(CrmError, match="lacks its semicolon: CREATE TABLE a"):
        list(split("CREATE TABLE a (\nid INT)\n"))
