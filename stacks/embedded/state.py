"""What the engine knows to exist: a Pulumi checkpoint, version 3, in memory.

The field names are those of sdk/go/common/apitype/core.go; fields of no use here (source
positions, stack traces) are dropped when a stack is taken over from the CLI.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Literal

import msgspec

from stacks.embedded.crypter import Crypter
from stacks.embedded.store import PROJECT, Store, now
from stacks.embedded.values import Properties
from stacks.errors import CrmError

MARK = "crm-embedded-"
ENGINE = f"{MARK}1"
"""In the manifest's ``version``, this is how a stack remembers which engine made it."""
Owner = Literal["embedded", "pulumi", "nobody"]

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_TYPES = "pulumi:providers:"


class Resource(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One resource of a checkpoint."""

    urn: str
    custom: bool
    delete: bool = False
    """Replaced already, still to be deleted."""
    id: str = ""
    type: str
    inputs: Properties = {}
    outputs: Properties = {}
    parent: str = ""
    protect: bool = False
    taint: bool = False
    """To be replaced by the next run whatever its inputs say."""
    dependencies: list[str] = []
    provider: str = ""
    property_dependencies: dict[str, list[str]] = {}
    pending_replacement: bool = False
    """Deleted already, to be made anew."""
    additional_secret_outputs: list[str] = []
    retain_on_delete: bool = False
    deleted_with: str = ""
    created: str = ""
    modified: str = ""

    @property
    def name(self) -> str:
        """The name the program gave it."""
        return self.urn.rsplit("::", 1)[1]

    @property
    def is_provider(self) -> bool:
        """Whether it stands for a provider; those are kept for the CLI and never counted."""
        return self.type.startswith(PROVIDER_TYPES)

    @property
    def needs(self) -> set[str]:
        """URNs of what must exist as long as this does."""
        properties = (urn for urns in self.property_dependencies.values() for urn in urns)
        provider = self.provider.rpartition("::")[0]
        named = {self.parent, provider, self.deleted_with, *self.dependencies, *properties}
        return named - {""}


class State:
    """The resources of one stack, in an order in which each comes after what it needs.

    Those registered in this run come first, as registered, then what is left of earlier runs.
    """

    def __init__(self, stack: str, crypter: Crypter, earlier: Iterable[Resource] = ()) -> None:
        self.stack = stack
        self.crypter = crypter
        self.earlier = list(earlier)
        self.registered: dict[str, Resource] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter([*self.registered.values(), *self.earlier])

    def find(self, urn: str) -> Resource | None:
        """The resource of that URN which earlier runs left, but for one only to be deleted."""
        return next((r for r in self.earlier if r.urn == urn and not r.delete), None)

    def register(self, resource: Resource, *, keep_old: bool = False) -> None:
        """Puts ``resource`` in the place of its predecessor, which stays to be deleted later
        when ``keep_old`` says so."""
        old = self.find(resource.urn)
        if old is not None and keep_old:
            old.delete = True
        elif old is not None:
            self.earlier.remove(old)
        self.registered[resource.urn] = resource

    def remove(self, gone: Resource) -> None:
        """Forgets ``gone``, also as something that others need."""
        self.earlier = [r for r in self.earlier if r is not gone]
        self.registered = {u: r for u, r in self.registered.items() if r is not gone}
        if any(r.urn == gone.urn for r in self):
            return
        for resource in self:
            resource.dependencies = [u for u in resource.dependencies if u != gone.urn]
            resource.property_dependencies = {
                name: [urn for urn in urns if urn != gone.urn]
                for name, urns in resource.property_dependencies.items()
            }
            if resource.deleted_with == gone.urn:
                resource.deleted_with = ""

    def stack_outputs(self) -> Properties:
        """What the program exported, secrets marked."""
        return next((r.outputs for r in self if r.type == STACK_TYPE), {})

    def checkpoint(self, version: str = ENGINE) -> dict[str, Any]:
        """The document the CLI reads, secrets encrypted."""
        resources: list[dict[str, Any]] = msgspec.to_builtins(list(self))
        for resource in resources:
            for part in {"inputs", "outputs"} & resource.keys():
                resource[part] = self.crypter.seal(resource[part])
        return {
            "stack": f"organization/{PROJECT}/{self.stack}",
            "latest": {
                "manifest": _manifest(version),
                "secrets_providers": {"type": "passphrase", "state": {"salt": self.crypter.salt}},
                "resources": resources,
                "metadata": {},
            },
        }


def _manifest(version: str) -> dict[str, str]:
    # Pulumi checks that magic is the hash of version; both may be empty.
    magic = sha256(version.encode()).hexdigest() if version else ""
    return {"time": now(), "magic": magic, "version": version}


def load(store: Store, stack: str, passphrase: str, salt: str | None) -> State:
    """The state that ``store`` holds, empty where it holds none.

    ``salt`` is the stack file's, if it has one: what is written next is encrypted with it.
    """
    document = store.read()
    latest = (document or {}).get("latest") or {}
    provider = latest.get("secrets_providers") or {"type": "passphrase", "state": {}}
    if provider["type"] != "passphrase":
        raise CrmError(
            f"{store.checkpoint}: its secrets are kept by {provider['type']!r}; the embedded engine"
            " knows 'passphrase' (pulumi stack change-secrets-provider passphrase)"
        )
    old_salt = provider["state"].get("salt")
    crypter = Crypter(passphrase, salt or old_salt, where=f"stack {stack}")
    opener = Crypter(passphrase, old_salt, where=str(store.checkpoint)) if old_salt else crypter
    resources = [
        msgspec.convert(opener.open(resource), Resource)
        for resource in latest.get("resources") or []
    ]
    return State(stack, crypter, resources)


def owner(store: Store) -> Owner:
    """Which engine a stack belongs to; one with nothing in it belongs to nobody."""
    latest = (store.read() or {}).get("latest") or {}
    if not latest.get("resources"):
        return "nobody"
    version = str(latest["manifest"]["version"])
    return "embedded" if version.startswith(MARK) else "pulumi"
