"""How each official image is imitated from Debian packages, where no registry can be reached.

Pure data and text: nothing here talks to Docker or to the network. What is built is for trying,
tests and CI, never for production: the labels and the names (``crm-local/…``) say so.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

SUITE = "trixie"
"""The Debian release the base is made of: the one the pinned ``debian:13.1-slim`` is, too."""
PYTHON = "3.13"
"""The Python of that release; the app's wheels are downloaded for it."""
DEBIAN = "http://deb.debian.org/debian"
PREFIX = "crm-local"
LABEL_PRODUCTION = "crm.production"
LABEL_RECIPE = "crm.recipe"

# Packages start their service when installed; in an image nothing may start.
NO_SERVICES = "#!/bin/sh\nexit 101\n"
# What debootstrap leaves and nobody needs in an image.
BASE_LITTER = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)


@dataclass(frozen=True)
class Recipe:
    """One service from Debian packages, with the account (name, uid) its workload runs as.

    ``suite`` is where ``packages`` come from when the base's own release lacks them;
    without ``programs`` on its PATH the build fails.
    """

    service: str
    packages: tuple[str, ...]
    uid: int
    version: str
    programs: tuple[str, ...]
    suite: str = SUITE


RECIPES = {
    recipe.service: recipe
    for recipe in (
        # Debian's stable release has older lines of both proxies than the pinned ones.
        Recipe("haproxy", ("haproxy",), 99, "3.2", ("haproxy",), suite="sid"),
        # Debian's stable releases have MariaDB only; the real MySQL is in sid.
        Recipe(
            "mysql",
            ("mysql-server-core", "mysql-client-core", "mysql-client"),
            999,
            "9.7",
            ("mysqld", "mysql", "mysqladmin"),
            suite="sid",
        ),
        Recipe(
            "nginx", ("nginx-light", "libnginx-mod-http-js"), 101, "1.30", ("nginx",), suite="sid"
        ),
        Recipe("redis", ("redis-server", "redis-tools"), 999, "8.0", ("redis-server", "redis-cli")),
        Recipe(
            "valkey", ("valkey-server", "valkey-tools"), 999, "8.1", ("valkey-server", "valkey-cli")
        ),
    )
}


def short(reference: str) -> str:
    """The reference as ``docker images`` shows it: without Docker Hub's host and ``library/``."""
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "library/"):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference


def is_present(reference: str, present: Collection[str]) -> bool:
    """Whether one of ``present`` is this image, by any name Docker may show it under.

    One pulled by digest keeps its repository and digest, and loses the tag written before it.
    """
    name, at, digest = short(reference).partition("@")
    untagged = re.sub(r":[\w.-]+$", "", name)
    names = {reference, short(reference), f"{untagged}@{digest}" if at else reference}
    return not names.isdisjoint(present)


def service_of(reference: str) -> str | None:
    """The service an official Docker Hub image runs, or None for any other image.

    An image of somebody's own registry has no equivalent: that registry was named on purpose.
    """
    match = re.fullmatch(r"(valkey/)?([a-z]+)(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", short(reference))
    if match is None:
        return None
    name = match[2]
    if match[1] and name != "valkey":
        return None
    return name if name == "debian" or name in RECIPES else None


def equivalent(reference: str) -> str | None:
    """``crm-local/<service>:<12 hex of its recipe>`` for an official image we can imitate."""
    service = service_of(reference)
    if service is None:
        return None
    return base_name() if service == "debian" else service_name(RECIPES[service])


def base_name() -> str:
    recipe = "\n".join(("minbase", SUITE, NO_SERVICES, *BASE_LITTER))
    return f"{PREFIX}/debian:{_digest(recipe)}"


def service_name(recipe: Recipe) -> str:
    return f"{PREFIX}/{recipe.service}:{_digest(base_name() + dockerfile(recipe))}"


def dockerfile(recipe: Recipe) -> str:
    """The image's Dockerfile; its argument ``MIRROR`` is the Debian mirror, used for sid alone.

    The account gets the official image's uid, whatever uid the package gave it. A mirror's index
    of sid is often past its Valid-Until date, which is accepted for that one source in this one
    command. The lists are removed in the layer they came in.
    """
    apt = "apt-get -qq -o Dpkg::Use-Pty=0"
    sid = "/etc/apt/sources.list.d/sid.list"
    packages = " ".join(recipe.packages)
    before, update = [], f"{apt} update"
    after = ["apt-get -qq clean", "rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old"]
    if recipe.suite != SUITE:
        before = [f'echo "deb $MIRROR {recipe.suite} main" > {sid}']
        update = f"{apt} -o Acquire::Check-Valid-Until=false update"
        after.append(f"rm {sid}")
    name = recipe.service
    steps = [
        *before,
        update,
        f"DEBIAN_FRONTEND=noninteractive {apt} install --yes --no-install-recommends {packages}",
        f"id {name} || useradd --system --user-group --no-create-home --home-dir /nonexistent"
        f" --shell /usr/sbin/nologin {name}",
        f"usermod --uid {recipe.uid} {name}",
        f"groupmod --gid {recipe.uid} {name}",
        *(f"command -v {program}" for program in recipe.programs),
        *after,
    ]
    return "\n".join(
        (
            "ARG BASE",
            "FROM ${BASE}",
            "ARG MIRROR",
            "RUN set -eu; \\\n    " + "; \\\n    ".join(steps),
            "",
        )
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
