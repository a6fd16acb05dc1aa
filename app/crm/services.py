"""What the areas share: made once per application, found through Flask's current one."""

from dataclasses import dataclass

from flask import current_app

from crm.cache import Cache
from crm.figures import Figures
from crm.settings import Settings
from crm.shards import Shards
from crm.sizes import Sizes


@dataclass(frozen=True)
class Services:
    settings: Settings
    figures: Figures
    shards: Shards
    sizes: Sizes
    cache: Cache


def services() -> Services:
    """Those of the application that handles this request."""
    found = current_app.extensions["crm"]
    assert isinstance(found, Services)
    return found
