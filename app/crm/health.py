"""Is the process alive, can it serve, what does it measure: for machines."""

from flask import Blueprint, Response
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST

from crm.errors import DependencyError
from crm.services import services
from crm.web import answer

blueprint = Blueprint("health", __name__)

# Below the patience of load balancers' checks: a shard that hangs is reported, not waited for.
CHECK_SECONDS = 1.0


class State(Struct, frozen=True):
    """``reason`` says why a dependency is not up."""

    status: str
    reason: str | None = None


UP = State("up")


class Readiness(Struct, frozen=True):
    """``ready``, ``degraded`` (serves, but something is down) or ``unready``."""

    status: str
    instance: str
    shards: dict[str, State]
    cache: State


def readiness() -> Readiness:
    """Ask every dependency at once.

    One shard is enough to be ready: were all replicas to leave because one shard is down, the
    other shards' customers would lose their service too. One that takes no password of this
    replica is another matter: those before it, which have the old one, serve its customers.
    """
    crm = services()
    shards = {
        shard.name: State("down", answered.reason) if isinstance(answered, DependencyError) else UP
        for shard, answered in crm.shards.ask(lambda shard: shard.check(), CHECK_SECONDS)
    }
    try:
        crm.cache.check()
        cache = UP
    except DependencyError as error:
        cache = State("down", error.reason)
    if UP not in shards.values() or any(shard.is_locked_out for shard in crm.shards):
        status = "unready"
    elif all(state is UP for state in (*shards.values(), cache)):
        status = "ready"
    else:
        status = "degraded"
    return Readiness(status, crm.settings.instance, dict(sorted(shards.items())), cache)


def stopping() -> Response | None:
    """The answer to any check once SIGTERM came: 503, while requests are still served."""
    settings = services().settings
    if not settings.is_stopping:
        return None
    return answer({"status": "stopping", "instance": settings.instance}, 503)


@blueprint.get("/healthz")
def healthz() -> Response:
    return stopping() or answer({"status": "ok", "instance": services().settings.instance})


@blueprint.get("/readyz")
def readyz() -> Response:
    leaving = stopping()
    if leaving is not None:
        return leaving
    found = readiness()
    return answer(found, 503 if found.status == "unready" else 200)


@blueprint.get("/metrics")
def metrics() -> Response:
    crm = services()
    return Response(crm.figures.expose() + crm.sizes.expose(), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/api/v1/figures")
def figures() -> Response:
    crm = services()
    return answer(crm.figures.report(crm.settings.instance))
