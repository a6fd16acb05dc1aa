"""What the engine knows to exist: a Pulumi checkpoint, version 3, in memory.

Field names are those of sdk/go/common/apitype/core.go. Those of no use here (source positions,
stack traces) are dropped when a stack is taken over from the CLI.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from stacks.errors import CrmError
from stacks.pulumi_state.crypter import Crypter
from stacks.pulumi_state.files import PROJECT, Store, now
from stacks.pulumi_state.values import Properties

MARK = "crm-embedded-1"
"""As the manifest's ``version``, this is how a stack remembers that this engine made it."""
STACK_TYPE = "pulumi:pulumi:Stack"


class Resource(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One resource of a checkpoint."""

    urn: str
    custom: bool
    delete: bool = False  # replaced already, still to be deleted
    id: str = ""
    type: str
    inputs: Properties = {}
    outputs: Properties = {}
    parent: str = ""
    protect: bool = False
    taint: bool = False  # to be replaced by the next run whatever its inputs say
    dependencies: list[str] = []
    provider: str = ""
    property_dependencies: dict[str, list[str]] = {}
    pending_replacement: bool = False  # deleted already, still to be made anew
    additional_secret_outputs: list[str] = []
    refresh_before_update: bool = False  # has the CLI read it before it compares
    created: str = ""
    modified: str = ""

    @property
    def name(self) -> str:
        """The name the program gave it."""
        return self.urn.rsplit("::", 1)[1]

    @property
    def label(self) -> str:
        """Its kind and name, for people."""
        return f"{self.type.rsplit(':', 1)[1]} {self.name}"

    @property
    def is_provider(self) -> bool:
        """Whether it is there only for the CLI's sake."""
        return self.type.startswith("pulumi:providers:")

    @property
    def is_managed(self) -> bool:
        """Whether a handler made it: it is neither a component nor a provider."""
        return self.custom and not self.is_provider

    @property
    def needs(self) -> set[str]:
        """URNs of what must exist as long as this does."""
        properties = (urn for urns in self.property_dependencies.values() for urn in urns)
        provider = self.provider.rpartition("::")[0]
        return {self.parent, provider, *self.dependencies, *properties} - {""}


class State:
    """The resources of one stack, each after what it needs: those registered in this run, as they
    came, then what is left of earlier runs."""

    def __init__(self, stack: str, crypter: Crypter, earlier: list[Resource]) -> None:
        self.stack = stack
        self.crypter = crypter
        self.earlier = earlier
        self.registered: dict[str, Resource] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter([*self.registered.values(), *self.earlier])

    def find(self, urn: str) -> Resource | None:
        """What earlier runs left under that URN, unless it is only there to be deleted."""
        return next((r for r in self.earlier if r.urn == urn and not r.delete), None)

    def context_of(self, resource: Resource) -> str | None:
        """The kubeconfig's context that the provider of ``resource`` names, if it does."""
        urn = resource.provider.rpartition("::")[0]
        return next((r.inputs.get("context") for r in self if r.urn == urn), None)

    def register(self, resource: Resource, *, keep_old: bool = False) -> None:
        """Puts ``resource`` in its predecessor's place; ``keep_old`` keeps that to be deleted."""
        old = self.find(resource.urn)
        if old is not None and keep_old:
            old.delete = True
        self.earlier = [r for r in self.earlier if keep_old or r is not old]
        self.registered[resource.urn] = resource

    def remove(self, gone: Resource) -> None:
        """Forgets ``gone``, also as something that others need."""
        self.earlier = [r for r in self.earlier if r is not gone]
        if self.find(gone.urn) or gone.urn in self.registered:
            return
        for r in self:
            r.dependencies = [urn for urn in r.dependencies if urn != gone.urn]
            for name, urns in r.property_dependencies.items():
                r.property_dependencies[name] = [urn for urn in urns if urn != gone.urn]

    def outputs(self) -> Properties:
        """What the program exported, secrets marked."""
        return next((r.outputs for r in self if r.type == STACK_TYPE), {})

    def checkpoint(self, version: str = MARK) -> dict[str, Any]:
        """The document the CLI reads, secrets encrypted."""
        # Pulumi checks that magic is the hash of version; both may be empty.
        magic = sha256(version.encode()).hexdigest() if version else ""
        latest = {
            "manifest": {"time": now(), "magic": magic, "version": version},
            "secrets_providers": {"type": "passphrase", "state": {"salt": self.crypter.salt}},
            "resources": [self.crypter.seal(msgspec.to_builtins(resource)) for resource in self],
            "metadata": {},
        }
        return {"stack": f"organization/{PROJECT}/{self.stack}", "latest": latest}


def load(store: Store, stack: str, passphrase: str, salt: str | None) -> State:
    """The state that ``store`` holds, empty where it holds none.

    What is written next is encrypted with ``salt``, the stack file's, if it has one.
    """
    latest = store.read().get("latest") or {}
    provider = latest.get("secrets_providers") or {"type": "passphrase", "state": {}}
    if provider["type"] != "passphrase":
        hint = "pulumi stack change-secrets-provider passphrase"
        raise CrmError(f"{stack}: secrets are kept by {provider['type']}; first run {hint}")
    kept_salt = provider["state"].get("salt")
    crypter = Crypter(passphrase, salt or kept_salt, f"stack {stack}")
    opener = Crypter(passphrase, kept_salt, str(store.checkpoint)) if kept_salt else crypter
    resources = msgspec.convert(opener.open(latest.get("resources") or []), list[Resource])
    return State(stack, crypter, resources)


def is_pulumis(store: Store) -> bool:
    """Whether the stack belongs to the CLI; one with nothing in it belongs to nobody."""
    latest = store.read().get("latest") or {}
    return bool(latest.get("resources")) and latest["manifest"]["version"] != MARK
