"""How a page is written: escaping, shortening, prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks import prices
from stacks.errors import CrmError
from stacks.reviews import blocks, diffs
from stacks.reviews.blocks import Diff, Facts, Folded, Heading, Paragraph, Table, code

EVIL = "<img src=x onerror=alert(1)> a|b *c* [d](e) @ada & `f`"


# --- Escaping ------------------------------------------------------------------------------------


def test_markdown_shows_what_files_hold_as_it_is() -> None:
    shown = blocks.markdown(
        [Paragraph(blocks.plain(EVIL)), Table(("a", "b"), ((code(EVIL), "1"),))]
    )
    plain, _, table = shown.partition("\n\n")
    assert plain.startswith(r"\<img src=x onerror=alert(1)\> a\|b \*c\* \[d\](e) @")
    assert "@ada" not in plain
    assert "&amp; 'f'" in plain
    # In code nothing but the bar means anything, and that only in tables.
    assert r"| `<img src=x onerror=alert(1)> a\|b *c* [d](e) @ada & 'f'` | 1 |" in table


def test_html_shows_what_files_hold_as_it_is() -> None:
    page: list[blocks.Block] = [
        Heading(1, code(EVIL)),
        Facts(((blocks.plain(EVIL), EVIL),)),
        Folded(EVIL, (Diff((f"+{EVIL}",)), Table((EVIL,), ((EVIL,),), numbers=(0,)))),
    ]
    shown = blocks.html(page, EVIL)
    assert "<img" not in shown
    assert "<script" not in shown
    assert shown.count("&lt;img src=x onerror=alert(1)&gt;") == 8
    assert "default-src 'none'" in shown


def test_diff_cannot_end_its_own_fence() -> None:
    shown = blocks.markdown([Diff(("+````", "+text", "+```"))])
    assert shown == "`````diff\n+````\n+text\n+```\n`````\n"


def test_name_of_several_lines_stays_on_one() -> None:
    assert code("a\nb`c") == "`a b'c`"
    assert code("") == "–"


# --- Diffs ---------------------------------------------------------------------------------------


def test_long_diff_is_shortened_and_says_so() -> None:
    lines = diffs.FILE_LINES + 50
    (found,) = diffs.blocks({}, {"a": "x\n" * lines})
    assert isinstance(found, Folded)
    assert found.summary == f"`a` (new): {lines} lines added, 0 removed"
    diff, note = found.blocks
    assert isinstance(diff, Diff)
    assert len(diff.lines) == diffs.FILE_LINES
    assert note == Paragraph("51 more lines are not shown.")


def test_page_ends_where_code_hosts_take_no_more() -> None:
    after = {f"{number:03}": f"{number}\n" * 70 + "y" * 900 for number in range(200)}
    found = list(diffs.blocks({}, after))
    assert len(found) == 200
    assert len(blocks.markdown(found)) < 65_536
    assert found[-1] == Folded(
        "`199` (new): 71 lines added, 0 removed",
        (Paragraph("Not shown: this page would be too long."),),
    )


def test_file_that_is_gone_says_so() -> None:
    (found,) = diffs.blocks({"a": "x\n"}, {})
    assert isinstance(found, Folded)
    assert found.summary == "`a` (gone): 0 lines added, 1 removed"


# --- Prices --------------------------------------------------------------------------------------


def test_month_costs_what_is_asked_for() -> None:
    given = prices.Prices("EUR", 0.01, 0.002, 0.1, 700)
    assert given.month(1, 1024, 20) == 2 * (0.5 * 0.01 * 700 + 0.5 * 0.002 * 700 + 10 * 0.1)


def test_file_of_prices_that_is_shipped_is_right() -> None:
    assert prices.load().hours_per_month > 0


PRICES = """\
currency: EUR
cpu_hour: 0.03
memory_gib_hour: 0.004
storage_gib_month: 0.09
hours_per_month: 730
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.03", "-1", "cpu_hour: -1 is not allowed; write a number, 0 or more, such as 0.03"),
        ("0.03", "cheap", "cpu_hour: 'cheap' is not allowed; write a number, 0 or more"),
        ("0.03", ".nan", "cpu_hour: nan is not allowed; write a number, 0 or more"),
        ("EUR", "euro", "currency: 'euro' is not allowed; write three capital letters, such as"),
        ("730", "0", "hours_per_month: 0 is not allowed; write a number above 0, 744 at most"),
        ("cpu_hour", "cpu_hours", "cpu_hours: there is no such key; write currency, cpu_hour, "),
        ("cpu_hour: ", "# ", "cpu_hour: is missing"),
        ("cpu_hour: ", "cpu_hour: [", "this is not YAML: "),
    ],
)
def test_wrong_price_is_refused_with_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "stacks" / "prices.yaml"
    path.parent.mkdir()
    assert old in PRICES
    path.write_text(PRICES.replace(old, new, 1))
    with pytest.raises(CrmError) as error:
        prices.load(path)
    assert str(error.value).startswith(f"stacks/prices.yaml: {said}")


@pytest.mark.parametrize("text", ["", "- 1\n", "free\n"])
def test_file_without_prices_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(CrmError, match=r"prices.yaml: write keys, one a line: currency, cpu_hour"):
        prices.load(path)
    with pytest.raises(CrmError, match=r"none.yaml: cannot be read: No such file"):
        prices.load(tmp_path / "none.yaml")
