"""Constants worked out: dates, times, and what functions make of them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from stacks.sql_lint.expressions import Node


class UnknownError(Exception):
    """A constant that cannot be worked out here."""


_LONG = re.compile(
    r"(\d{4}|\d{2})[-/.](\d{1,2})[-/.](\d{1,2})"
    r"(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d*)?)?)?"
)
_SHORT = re.compile(r"(\d{4}|\d{2})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(\.\d*)?)?")
_TIME = re.compile(r"(-?)(\d{1,3}):(\d\d)(?::(\d\d))?")


def moment(text: str) -> datetime | None:
    """A date with or without a time, as MySQL reads it; None for what is certainly none. Raises
    ``UnknownError`` for what MySQL may read in a way of its own."""
    found = _LONG.fullmatch(text) or _SHORT.fullmatch(text)
    if not found:
        if re.search(r"\d", text):
            raise UnknownError
        return None
    year, month, day, *rest, fraction = found.groups()
    if not int(month) or not int(day) or not int(year):
        # Zeros are dates to MySQL, where its mode allows them.
        raise UnknownError
    full = int(year)
    if len(year) == 2:
        full += 2000 if full < 70 else 1900
    micro = (fraction or ".")[1:]
    if len(micro) > 6:
        raise UnknownError
    numbers = [int(one) for one in rest if one]
    numbers += [0] * (3 - len(numbers)) + [int(micro.ljust(6, "0"))]
    try:
        return datetime(full, int(month), int(day), *numbers, tzinfo=UTC)  # type: ignore[misc,arg-type]  # hour, minute, second, microsecond
    except ValueError:
        return None


def is_value(text: str) -> bool:
    """Whether a DATE or DATETIME takes ``text`` as a value, which is stricter than what functions
    take. Raises ``UnknownError``."""
    return _NO_VALUE.fullmatch(text) is None and moment(text) is not None


_NO_VALUE = re.compile(
    r"\s.*|.*\s|.*[A-Za-z]|\d{1,4}|\d{7}|\d{9}|\d+[-/.]\d+|\d\d?[-/.]\d\d?[-/.]\d{3,}"
    r"|\d+-\d+-\d+ \d+",
    re.DOTALL,
)


def rounded(when: datetime, digits: int) -> datetime:
    """``when`` with so many digits of its second's fraction, as MySQL rounds."""
    unit = 10 ** (6 - digits)
    micros = (when.microsecond + unit // 2) // unit * unit
    return when.replace(microsecond=0) + timedelta(microseconds=micros)


def rounded_to_day(when: datetime) -> datetime:
    """The day's beginning."""
    return when.replace(hour=0, minute=0, second=0, microsecond=0)


def seconds(text: str) -> int | None:
    """A TIME in seconds; None for what is certainly none. Raises ``UnknownError``."""
    found = _TIME.fullmatch(text)
    if not found:
        if not re.search(r"\d", text):
            return None
        raise UnknownError
    sign, hours, minutes, rest = found.groups()
    if int(minutes) > 59 or int(rest or 0) > 59 or int(hours) > 838:
        raise UnknownError
    whole = int(hours) * 3600 + int(minutes) * 60 + int(rest or 0)
    return -whole if sign else whole


def value(node: Node) -> int | None:
    """The integer that a constant is; None for NULL. Raises ``UnknownError``."""
    if node.kind == "integer":
        return int(node.name)
    if node.kind == "null":
        return None
    if node.kind != "call":
        raise UnknownError
    if len(node.arguments) == 1 and node.arguments[0].kind == "string":
        return _of_date(node.name, node.arguments[0].name)
    values = [value(argument) for argument in node.arguments]
    numbers = [one for one in values if one is not None]
    if len(numbers) < len(values):
        return None
    if node.name == "-" and len(numbers) == 1:
        return -numbers[0]
    if len(numbers) != 2:
        raise UnknownError
    left, right = numbers
    if node.name in ("+", "-", "*"):
        return {"+": left + right, "-": left - right, "*": left * right}[node.name]
    if node.name == "DIV" and right > 0 and left >= 0:
        return left // right
    if node.name == "MOD" and right > 0 and left >= 0:
        return left % right
    raise UnknownError


_EPOCH = datetime(1970, 1, 3, tzinfo=UTC)
"""UNIX_TIMESTAMP is 0 for what is earlier, in the server's time zone."""


def _of_date(name: str, text: str) -> int | None:
    when = moment(text)
    if when is None:
        if name in ("TO_DAYS", "YEAR", "MONTH", "TO_SECONDS"):
            return None
        raise UnknownError
    days = date(when.year, when.month, when.day).toordinal() + 365
    if name == "UNIX_TIMESTAMP":
        if when.year < 1969:
            return 0
        if when < _EPOCH or when.year > 2037 or when.microsecond:
            raise UnknownError
        # The server's time zone shifts all bounds alike.
        return int(when.timestamp())
    whole = days * 86400 + when.hour * 3600 + when.minute * 60 + when.second
    known = {"TO_DAYS": days, "YEAR": when.year, "MONTH": when.month, "TO_SECONDS": whole}
    if name not in known:
        raise UnknownError
    return known[name]
