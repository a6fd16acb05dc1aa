"""The types of fields people send, each with a description that an error can show."""

import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from crm.errors import ProblemError
from crm.ids import MAX_ID

# No control characters, at least one that is no space.
Name = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
        description="a text of 1 to 200 characters on one line",
    ),
]
Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$",
        description="an address such as ada@example.org, of at most 254 characters",
    ),
]
Role = Annotated[
    str,
    Meta(
        max_length=32,
        pattern=r"^[a-z][a-z0-9_-]*$",
        description="a word in lower case such as sales, of at most 32 characters",
    ),
]
RowId = Annotated[int, Meta(ge=0, le=MAX_ID, description=f"a whole number from 0 to {MAX_ID}")]
Limit = Annotated[int, Meta(ge=1, le=200, description="a whole number from 1 to 200")]
Day = Annotated[datetime.date, Meta(description="a date such as 2025-03-31")]
Amount = Annotated[
    Decimal,
    Meta(description='an amount from 0.00 to 9999999999.99, in cents at finest, such as "19.90"'),
]
CENT = Decimal("0.01")
MAX_AMOUNT = Decimal("9999999999.99")


def checked_amount(amount: Decimal) -> Decimal:
    """What DECIMAL(12,2) keeps unchanged, with both decimals; 400 for anything it would round."""
    fits = amount.is_finite() and 0 <= amount <= MAX_AMOUNT and amount == amount.quantize(CENT)
    if not fits:
        raise ProblemError(
            400,
            f"{amount} cannot be stored as it is",
            field="order_amount",
            expected='an amount from 0.00 to 9999999999.99, in cents at finest, such as "19.90"',
        )
    return abs(amount.quantize(CENT))


def utc_now() -> datetime.datetime:
    """The time rows are stamped with: UTC, without a zone as DATETIME has none, in seconds."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)


def utc(stored: datetime.datetime) -> datetime.datetime:
    """A DATETIME of the database with its zone said."""
    return stored.replace(tzinfo=datetime.UTC)
