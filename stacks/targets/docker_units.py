"""Values as Docker's provider says them back: any other form would look like a change."""

from __future__ import annotations

import pulumi_docker as docker

from stacks.workload import Health


def healthcheck(health: Health | None) -> docker.ContainerHealthcheckArgs | None:
    """The check of a container, ``None`` for one without."""
    if health is None:
        return None
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *health.command],
        interval=_duration(health.interval_seconds),
        timeout=_duration(health.timeout_seconds),
        retries=health.retries,
        start_period=_duration(health.start_seconds),
    )


def cpus(number: float) -> str:
    """``1.0`` → ``"1.0"``, ``0.25`` → ``"0.25"``, ``10.0`` → ``"10."``: the provider's
    nanoInt64ToDecimalString."""
    text = f"{number:.9f}"
    return f"{number:.1f}" if text.count("0") == 9 else text.rstrip("0")


def _duration(seconds: int) -> str:
    """``90`` → ``1m30s``."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
