"""The real MySQL says to every case what the linter says, and takes all that it proposes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from stacks import sql_lint
from tests.live import own
from tests.sql_lint.recorded import ANSWERS, cases

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[own.MySQL]:
    with own.mysql() as running:
        yield running


@pytest.fixture(scope="module")
def said(server: own.MySQL) -> dict[str, int | None]:
    """What the server says to each case."""
    return answers(server, cases())


def answers(server: own.MySQL, texts: dict[str, str]) -> dict[str, int | None]:
    """The first error of each text, each in an empty schema; the lines say which is whose."""
    found: dict[str, int | None] = {}
    names = list(texts)
    for start in range(0, len(names), 100):
        script, lines = "", []
        for name in names[start : start + 100]:
            script += "SET foreign_key_checks = 1; SET sql_mode = DEFAULT; "
            script += "DROP TEMPORARY TABLE IF EXISTS tried.t, tried.u; "
            script += "DROP DATABASE IF EXISTS tried; CREATE DATABASE tried; USE tried;\n"
            first = script.count("\n") + 1
            script += texts[name].rstrip().rstrip(";") + ";\n"
            lines.append((first, script.count("\n"), name))
        # By standard input: with -e the client would stop at the first error.
        client = "mysql --no-defaults -S/run/crm/mysqld.sock -uroot --force "
        client += "--default-character-set=utf8mb4"
        _, said = own.ask(
            server.container, "sh", "-c", f'printf %s "$SCRIPT" | {client}', SCRIPT=script
        )
        errors = [
            (int(at), int(n)) for n, at in re.findall(r"ERROR (\d+) .*? at line (\d+):", said)
        ]
        for first, last, name in lines:
            own_errors = [number for at, number in sorted(errors) if first <= at <= last]
            found[name] = own_errors[0] if own_errors else None
    return found


def test_answers_are_the_servers(said: dict[str, int | None]) -> None:
    assert said == ANSWERS
    accepted = [name for name, number in said.items() if number is None]
    assert len(accepted) >= 30
    assert len(said) - len(accepted) >= 30


def test_linter_says_what_the_server_says(said: dict[str, int | None]) -> None:
    linted = {
        name: next((f.error for f in sql_lint.lint(text) if f.error), None)
        for name, text in cases().items()
    }
    assert linted == said


def test_all_that_is_proposed_is_accepted(server: own.MySQL) -> None:
    proposed = {}
    for name, text in cases().items():
        wrong = next((f for f in sql_lint.lint(text) if f.error), None)
        if wrong and wrong.corrected:
            proposed[name] = text.replace(wrong.statement, wrong.corrected)
    assert len(proposed) > 100
    refused = {name: number for name, number in answers(server, proposed).items() if number}
    assert {name: (number, proposed[name]) for name, number in refused.items()} == {}
