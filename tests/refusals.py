"""How a stack file is refused, for the tests of what it may say."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import stack_file
from stacks.errors import CrmError

FILE = "stacks/config/Pulumi.dev.yaml"
SECRET = {"env": "CRM_PASSWORD"}
EXTERNAL = {"host": "db.example.com", "password": SECRET, "owner_password": SECRET}


def refusal(config: dict[str, Any]) -> str:
    """The sentence that ``config`` is answered with."""
    with pytest.raises(CrmError) as caught:
        stack_file.parse(config, "dev")
    return str(caught.value)
