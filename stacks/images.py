"""Which image each workload uses on this machine, and how to come by those that are missing.

A stack names official images. One that is here is used; else it is pulled; where no registry can
be reached its equivalent is built from Debian packages (see ``images_recipes``). The app's own
image is always built here. Importing this module imports neither Docker nor Pulumi.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stacks.app_image import APP, app_files, app_reference
from stacks.errors import CrmError
from stacks.images_debian import Report
from stacks.images_recipes import RECIPES, base_name, equivalent, is_present, service_of

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = [
    "APP_BASE",
    "ImageUse",
    "app_files",
    "app_reference",
    "build_equivalents",
    "choose",
    "ensure",
    "equivalent",
    "images_report",
    "main",
    "present_names",
]

APP_BASE = "debian:13.1-slim"
"""What the app's image is built on; with it come the Python and the glibc its wheels are for."""


@dataclass(frozen=True)
class ImageUse:
    """One image a stack asks for, and what stands for it here.

    ``name`` is what a container would be made from now. ``state``: "present" (the image itself is
    here), "equivalent" (a local build stands in for it), "missing". ``way`` says in a few words
    where it is from or would come from.
    """

    reference: str
    name: str
    state: Literal["present", "equivalent", "missing"]
    way: str


def choose(reference: str, present: Collection[str]) -> str:
    """The name the image has here: itself if present, else its local equivalent, else itself."""
    if is_present(reference, present):
        return reference
    stand_in = equivalent(reference)
    return stand_in if stand_in is not None and stand_in in present else reference


def present_names() -> frozenset[str]:
    """Every image name on this machine, for ``choose``; CrmError when Docker does not answer."""
    from stacks import images_build

    with images_build.docker_client() as client:
        return images_build.local_names(client)


def ensure(reference: str, report: Report) -> str:
    """Have the image on this machine; returns the name it has here.

    Present: nothing happens. The app's image is built from ``app/``; any other is pulled, else its
    equivalent is built. ``report`` gets a sentence before and after whatever takes long.
    Raises CrmError with the way out when the image cannot be had.
    """
    from stacks import images_build

    with images_build.docker_client() as client:
        name = _found(client, reference)
        if name is not None:
            return name
        with images_build.lock(report):
            # Another process may have made it while this one waited for the lock.
            return _found(client, reference) or _obtain(client, reference, report)


def build_equivalents(references: Iterable[str], report: Report) -> dict[str, str]:
    """Make every image that is missing (pulled, else built); reference → its name here."""
    return {reference: ensure(reference, report) for reference in references}


def images_report(references: Iterable[str]) -> list[ImageUse]:
    """What stands for each image on this machine; nothing is pulled, built or probed."""
    present = present_names()
    return [_use(reference, present) for reference in references]


def _use(reference: str, present: Collection[str]) -> ImageUse:
    name = choose(reference, present)
    if name != reference:
        version = _imitated(reference)
        return ImageUse(
            reference, name, "equivalent", f"built here from {version}; not for production"
        )
    if is_present(name, present):
        return ImageUse(reference, name, "present", "on this machine")
    if reference.startswith(f"{APP}:"):
        way = "built here from app/ when needed"
    elif f"/{APP}:" in reference:
        way = "`crm images push` puts it there"
    elif equivalent(reference) is not None:
        way = f"pulled when needed, else built here from {_imitated(reference)}"
    else:
        way = "pulled when needed"
    return ImageUse(reference, name, "missing", way)


def _imitated(reference: str) -> str:
    """What an equivalent is made of, for people: it need not have the version asked for."""
    recipe = RECIPES.get(service_of(reference) or "")
    if recipe is None:
        return "Debian packages"
    return f"Debian packages, {recipe.service} {recipe.version} from {recipe.suite}"


def _found(client: "DockerClient", reference: str) -> str | None:
    from stacks import images_build

    present = images_build.local_names(client)
    name = choose(reference, present)
    return name if is_present(name, present) else None


def _obtain(client: "DockerClient", reference: str, report: Report) -> str:
    """Make a missing image while the lock is held; its name here."""
    from stacks import images_build

    if reference.startswith(f"{APP}:"):
        current = app_reference()
        if reference != current:
            raise CrmError(
                f"image {reference}: app/ has changed meanwhile and its image is {current} now; "
                "run the command again"
            )
        floor = _found(client, APP_BASE) or _obtain(client, APP_BASE, report)
        return images_build.build_app(client, reference, floor, app_files(), report)

    reason = images_build.pull(client, reference, report)
    if reason is None:
        return reference
    stand_in = equivalent(reference)
    if stand_in is None:
        raise CrmError(
            f"image {reference}: cannot be pulled ({reason}), and only official Docker Hub images "
            f"of {', '.join(sorted(RECIPES))} and debian can be built here instead; "
            "bring it with `docker load`, or name another one under `images` in the stack file"
        )
    report(
        f"{reference} cannot be pulled ({reason}): {stand_in} stands in for it, "
        f"built from {_imitated(reference)}; it is not for production"
    )
    service = service_of(reference)
    # The base the recipe's hash names, also where Debian's own image is present.
    floor = base_name()
    if floor not in images_build.local_names(client):
        images_build.build_base(client, report)
    if service is None or service == "debian":
        return floor
    return images_build.build_service(client, RECIPES[service], floor, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m stacks.images ensure REF…``: what bootstrap runs in the environment.

    ``app`` as a REF means the app's image. Exit code 1 with one sentence when one cannot be had.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) < 2 or words[0] != "ensure" or any(word.startswith("-") for word in words):
        print("usage: python -m stacks.images ensure REF...", file=sys.stderr)
        return 2
    try:
        for word in words[1:]:
            reference = app_reference() if word == "app" else word
            ensure(reference, lambda line: print(f"  {line}", flush=True))
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
