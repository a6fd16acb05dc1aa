"""Puts the application together."""

import atexit

from flask import Flask

from crm import customers, health, orders, pages, users, web
from crm.cache import Cache, open_client
from crm.figures import Figures
from crm.services import Services
from crm.settings import Settings
from crm.shards import Shards
from crm.sizes import Sizes


def create_app(settings: Settings) -> Flask:
    """One application. Opens no connection: each dependency is reached at first need."""
    app = Flask(__name__)
    figures = Figures()
    shards = Shards(settings, figures)
    cache = Cache(
        settings.file.cache, lambda: open_client(settings.file.cache, settings.secrets), figures
    )
    app.extensions["crm"] = Services(settings, figures, shards, Sizes(shards), cache)
    web.install(app, settings.file.server.body_kib)
    for blueprint in (
        customers.api,
        orders.api,
        users.api,
        health.blueprint,
        pages.blueprint,
    ):
        app.register_blueprint(blueprint)
    atexit.register(shards.close)
    atexit.register(cache.close)
    return app
