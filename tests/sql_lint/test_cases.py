"""The linter against what the real server said, and each rule with its correction."""

from __future__ import annotations

import random
import time

import pytest

from stacks.paths import GOLDEN
from stacks.sql_lint import Finding, lint, lint_all
from stacks.sql_lint.words import words
from tests.sql_lint.recorded import ANSWERS, cases

TEXTS = cases()
FROM_T = "CREATE TABLE t "


def first(text: str) -> Finding:
    return next(finding for finding in lint(text) if finding.error)


def test_each_case_has_an_answer_and_there_are_enough() -> None:
    assert TEXTS.keys() == ANSWERS.keys()
    accepted = [name for name, number in ANSWERS.items() if number is None]
    assert len(accepted) >= 30
    assert len(ANSWERS) - len(accepted) >= 30


@pytest.mark.parametrize("name", TEXTS)
def test_first_error_is_the_servers(name: str) -> None:
    found = list(lint(TEXTS[name]))
    assert next((f.error for f in found if f.error), None) == ANSWERS[name]
    assert not [f.message for f in found if f.message.startswith("not ")]


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_proposed_has_nothing_to_be_refused(name: str) -> None:
    wrong = [finding for finding in lint(TEXTS[name]) if finding.error]
    if wrong and wrong[0].corrected:
        again = TEXTS[name].replace(wrong[0].statement, wrong[0].corrected)
        assert not [finding for finding in lint(again) if finding.error]


def test_what_articles_show_is_refused_twice_and_corrected() -> None:
    found = [finding for finding in lint(TEXTS["article_form"]) if finding.error]
    assert [finding.error for finding in found] == [1697, 1503]
    assert found[0].line == 1
    assert found[0].table == "orders"
    assert found[0].corrected == (
        "CREATE TABLE orders (\n"
        "    id INT AUTO_INCREMENT,\n"
        "    customer_id INT NOT NULL,\n"
        "    order_date DATE NOT NULL,\n"
        "    order_amount DECIMAL(10, 2) NOT NULL\n"
        ", PRIMARY KEY (id, order_date))\n"
        "PARTITION BY RANGE COLUMNS (order_date) (\n"
        "    PARTITION p0 VALUES LESS THAN ('2024-01-01'),\n"
        "    PARTITION p1 VALUES LESS THAN ('2025-01-01'),\n"
        "    PARTITION p2 VALUES LESS THAN MAXVALUE\n"
        ")"
    )


@pytest.mark.parametrize(
    ("name", "number", "part"),
    [
        ("primary_key_lacks_column", 1503, "PRIMARY KEY (id, d)"),
        ("unique_key_lacks_column", 1503, "UNIQUE KEY e (e, id)"),
        ("unique_column_lacks_column", 1503, "e VARCHAR(9), UNIQUE KEY (e, id))"),
        ("primary_key_prefix", 1503, "PRIMARY KEY (s))"),
        ("foreign_key_from", 1506, "(id INT, c INT) PARTITION"),
        ("foreign_key_inline", 1506, "(id INT, c INT) PARTITION"),
        ("foreign_key_to", 1506, "CREATE TABLE t (id INT, c INT)"),
        ("unordered", 1493, "p1 VALUES LESS THAN (10), PARTITION p0 VALUES LESS THAN (20))"),
        ("equal_bounds", 1493, "(PARTITION p0 VALUES LESS THAN (10))"),
        ("maxvalue_first", 1481, "p1 VALUES LESS THAN (10), PARTITION p0 VALUES LESS THAN MAX"),
        ("duplicate_name", 1517, "PARTITION p0_2 VALUES LESS THAN (20)"),
        ("list_duplicate_same_partition", 1495, "VALUES IN (1))"),
        ("range_int_string_bound", 1697, "LESS THAN (10)"),
        ("range_bound_to_days_without_function", 1697, "LESS THAN (TO_DAYS('2024-01-01'))"),
        ("range_ts_string", 1697, "RANGE (UNIX_TIMESTAMP(d))"),
        ("range_date_integer_bound", 1659, "COLUMNS (d) (PARTITION p0 VALUES LESS THAN ('2024-0"),
        ("range_columns_int_string", 1654, "LESS THAN (10)"),
        ("range_columns_two_maxvalue_alone", 1064, "LESS THAN (MAXVALUE, MAXVALUE)"),
        ("hash_varchar", 1659, "PARTITION BY KEY (s)"),
        ("hash_date", 1659, "HASH (TO_DAYS(d))"),
        ("hash_crc32", 1564, "PARTITION BY KEY (a)"),
        ("hash_floor_float", 1491, "PARTITION BY KEY (a)"),
        ("hash_hour_of_date", 1486, "PARTITION BY KEY (a)"),
        ("hash_with_values_in", 1480, "(PARTITION p0)"),
        ("hash_number_mismatch", 1064, "PARTITIONS 2"),
        ("auto_increment_without_key", 1075, "PRIMARY KEY (id, d))"),
        ("auto_increment_second_in_key", 1075, "KEY (id))"),
        ("fulltext", 1214, "(id INT, s TEXT) PARTITION"),
        ("myisam", 1178, "ENGINE = InnoDB"),
        ("engine_mixed", 1497, "p1 ENGINE = INNODB"),
        (
            "alter_add_beyond_maxvalue",
            1481,
            "REORGANIZE PARTITION pm INTO (PARTITION p1 VALUES LESS THAN (20), PARTITION pm VALUES",
        ),
        ("alter_add_beyond_maxvalue_columns", 1493, "REORGANIZE PARTITION pm INTO ("),
        ("alter_add_lower", 1493, "REORGANIZE PARTITION p0 INTO (PARTITION p1 VALUES LESS THAN (5"),
        ("alter_drop_hash", 1512, "ALTER TABLE t COALESCE PARTITION 1"),
        ("alter_reorganize_smaller", 1520, "PARTITION p1b VALUES LESS THAN (20)"),
        ("alter_add_unique", 1503, "ADD UNIQUE KEY (e, id)"),
    ],
)
def test_rule_has_its_number_and_its_correction(name: str, number: int, part: str) -> None:
    found = first(TEXTS[name])
    assert found.error == number
    assert found.corrected is not None
    assert part in found.corrected


@pytest.mark.parametrize(
    "name",
    [
        "hash_8193",
        "hash_zero",
        "null_bound",
        "list_negative_unsigned",
        "range_columns_unknown_column",
        "no_partitions_given_range",
        "subpartition_of_hash",
        "alter_drop_unknown",
        "alter_drop_last",
        "temporary",
    ],
)
def test_what_only_a_person_can_know_is_not_proposed(name: str) -> None:
    assert first(TEXTS[name]).corrected is None


# --- Advice, and what is not understood ----------------------------------------------------------


def test_catch_all_is_advised_against() -> None:
    (found,) = [f for f in lint(TEXTS["range_varchar_columns"]) if "ADD PARTITION" in f.message]
    assert found.error is None


def test_missing_index_of_the_partition_column_is_advised() -> None:
    found = list(lint(TEXTS["article_corrected"]))
    assert all(finding.error is None for finding in found)
    assert any("add KEY (order_date)" in finding.message for finding in found)


@pytest.mark.parametrize(
    "text",
    [
        FROM_T + "(n INT SPARSE)",
        FROM_T + "(n INT) SPREAD = 3 PARTITION BY HASH (n)",
        FROM_T + "(n INT, KEY k (n) SPARSE)",
        FROM_T + "(n INT) PARTITION BY HASH (n + @@port)",
        FROM_T + "(n INT) PARTITION BY HASH (" + "(" * 3000 + "n" + ")" * 3000 + ")",
    ],
)
def test_what_is_not_understood_is_advice(text: str) -> None:
    (found,) = lint(text)
    assert found.error is None
    assert found.corrected is None
    assert found.message.startswith("not ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";;;",
        "-- nothing",
        "SELECT 1; INSERT INTO t VALUES ('PARTITION BY RANGE (x);')",
        "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; END//\nDELIMITER ;\nSELECT 1;",
        "CREATE VIEW v AS SELECT 1; SET NAMES utf8mb4; USE crm",
        "ALTER TABLE made_elsewhere ADD COLUMN n INT",
    ],
)
def test_other_statements_are_passed_over(text: str) -> None:
    assert list(lint(text)) == []


def test_table_made_elsewhere_is_judged_without_its_columns_and_that_is_said() -> None:
    (found,) = lint("ALTER TABLE made_elsewhere DROP PARTITION p0")
    assert found.error is None
    assert "made elsewhere: not judged against its columns" in found.message
    text = "ALTER TABLE made_elsewhere ADD PARTITION (PARTITION a VALUES LESS THAN (2), PARTITION "
    errors = [one.error for one in lint(text + "b VALUES LESS THAN (1))")]
    assert errors == [1493, None]


def test_files_of_one_call_see_what_those_before_have_made() -> None:
    made = FROM_T + "(id INT PRIMARY KEY, d DATE NOT NULL)"
    parted = "ALTER TABLE t PARTITION BY HASH (TO_DAYS(d))"
    first_file, second = lint_all([made, parted])
    assert first_file == []
    assert [one.error for one in second] == [1503]
    # A table of the same name may be in another database; in one file it is the same.
    assert [[one.error for one in found] for found in lint_all([made, made])] == [[], [None]]
    assert [one.error for one in lint(made + ";" + made)] == [1050]


def test_delimiters_are_followed_in_files_of_any_system() -> None:
    body = "CREATE PROCEDURE p() BEGIN CREATE TEMPORARY TABLE x (id INT); SELECT 2; END//"
    wrong = FROM_T + "(id INT PRIMARY KEY, d DATE) PARTITION BY HASH (TO_DAYS(d))//"
    for end in ("\n", "\r\n"):
        text = end.join(["DELIMITER //", body, body, wrong, "DELIMITER ;", "SELECT 1;"])
        found = [one for one in lint(text) if one.error]
        assert [(one.line, one.error) for one in found] == [(4, 1503)]
        assert found[0].statement == wrong.removesuffix("//")


@pytest.mark.parametrize("text", ["(n INT DEFAULT 'open)", "(n INT", "(n INT) /* open", "(`n INT)"])
def test_what_is_not_closed_is_a_syntax_error(text: str) -> None:
    assert [one.error for one in lint(FROM_T + text)] == [1064]


def test_reference_beside_a_column_names_the_version_that_minds() -> None:
    text = FROM_T + "(id INT REFERENCES p (id)) PARTITION BY HASH (id)"
    found = first(text)
    assert found.error == 1506
    assert "8.4 passes over a REFERENCES beside a column" in found.message


def test_reserved_words_and_functions_are_listed_once() -> None:
    assert {"ORDER", "RANGE", "RANK", "MAXVALUE"} <= words("reserved")
    assert not words("reserved") & {"HASH", "PARTITIONS", "YEAR"}
    assert not words("denied") & words("random")


def test_thousands_of_partitions_in_a_wrong_order_are_sorted_at_once() -> None:
    bounds = ", ".join(f"PARTITION p{i} VALUES LESS THAN ({i})" for i in range(4000, 0, -1))
    begun = time.monotonic()
    found = first(FROM_T + f"(id INT) PARTITION BY RANGE (id) ({bounds})")
    assert time.monotonic() - begun < 5
    assert found.error == 1493
    assert found.corrected is not None
    assert "(PARTITION p1 VALUES LESS THAN (1), PARTITION p2 " in found.corrected


def test_line_is_that_of_the_statement() -> None:
    text = (
        "-- one\n\n"
        + TEXTS["range_date_without_key"]
        + "\n"
        + TEXTS["hash_zero"].replace("t ", "u ")
    )
    assert [finding.line for finding in lint(text) if finding.error] == [3, 5]


def test_damaged_statements_never_crash() -> None:
    chance = random.Random(7)
    texts = list(TEXTS.values())
    pieces = [piece for text in texts for piece in text.split(" ")]
    for _ in range(1500):
        words = chance.choice(texts).split(" ")
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(words))
            words[place : place + chance.randint(0, 2)] = chance.choices(
                pieces, k=chance.randint(0, 2)
            )
            words = words or [""]
        text = " ".join(words)
        list(lint(text))
        list(lint(text[: chance.randint(0, len(text))]))


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("*/mysql/schema.sql")), ids=lambda p: p.parts[-3]
)
def test_rendered_schema_has_nothing_to_be_refused(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    assert not [f for f in lint(path.read_text(encoding="utf-8")) if f.error]
