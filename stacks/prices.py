"""The file of prices, and what a stack costs by it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from stacks.errors import CrmError
from stacks.paths import PRICES

Price = Annotated[
    float,
    msgspec.Meta(ge=0, le=100_000, description="a number, 0 or more, such as 0.03"),
]


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of what a stack asks for, without taxes, traffic and discounts."""

    currency: Annotated[
        str,
        msgspec.Meta(pattern=r"\A[A-Z]{3}\Z", description="three capital letters, such as EUR"),
    ]
    cpu_hour: Price
    memory_gib_hour: Price
    storage_gib_month: Price
    hours_per_month: Annotated[
        float, msgspec.Meta(gt=0, le=744, description="a number above 0, 744 at most, such as 730")
    ]

    def month(self, cpus: float, memory_mib: float, storage_gib: float) -> float:
        """What so much costs in a month."""
        hour = cpus * self.cpu_hour + memory_mib / 1024 * self.memory_gib_hour
        # To the cent, so that sums are those of what is shown.
        return round(hour * self.hours_per_month + storage_gib * self.storage_gib_month, 2)


def load(path: Path = PRICES) -> Prices:
    """Read ``path``. Raises ``CrmError`` naming the key that is wrong and what would be right."""
    name = f"{path.parent.name}/{path.name}"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CrmError(f"{name}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CrmError(f"{name}: this is not YAML: {' '.join(str(error).split())}") from None
    keys = Prices.__struct_fields__
    try:
        return msgspec.convert(found, Prices)
    except msgspec.ValidationError as error:
        what = str(error)
    if match := re.search(r" - at `\$\.(\w+)`", what):
        key = match[1]
        meta = next(f.type for f in msgspec.structs.fields(Prices) if f.name == key).__metadata__[0]
        raise CrmError(f"{name}: {key}: {found[key]!r} is not allowed; write {meta.description}")
    if match := re.search(r"(missing required|contains unknown) field `(.*)`", what):
        is_missing = match[1].startswith("missing")
        raise CrmError(
            f"{name}: {match[2]}: "
            + ("is missing" if is_missing else f"there is no such key; write {', '.join(keys)}")
        )
    raise CrmError(f"{name}: write keys, one a line: {', '.join(keys)}")
