"""Dynamic resources: their provider travels pickled in the inputs and is called in this process,
as the SDK's provider server would (pulumi/dynamic/__main__.py)."""

import asyncio
from base64 import b64decode
from functools import cache
from typing import Any

import dill
from pulumi.dynamic import Config, ConfigureRequest, ResourceProvider
from pulumi.runtime import rpc

from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state import values
from stacks.pulumi_state.files import PROJECT
from stacks.pulumi_state.values import Properties, changed_names, reveal

_PROVIDER = "__provider"


class DynamicHandler:
    """Calls the providers of dynamic resources. ``config`` is the stack's, secrets opened."""

    replaces_on_change = mends = False

    def __init__(self, config: dict[str, str]) -> None:
        self._load = cache(lambda pickled: _load(pickled, config))

    def check(self, new: Resource, old: Resource | None) -> Properties:
        if values.has_unknown(new.inputs):
            return new.inputs
        checked = self._of(new).check(reveal(old.inputs) if old else {}, reveal(new.inputs))
        if checked.failures:
            complaints = "; ".join(f"{f.property}: {f.reason}" for f in checked.failures)
            raise CrmError(f"{new.label}: {complaints}")
        return self._kept(checked.inputs, new.inputs)

    def diff(self, old: Resource, new: Resource) -> Diff:
        """What the provider says has changed; what is not known yet counts as changed."""
        changed = changed_names(old.inputs, new.inputs)
        if values.has_unknown(new.inputs):
            return Diff(changed)
        found = self._of(new).diff(old.id, reveal(old.outputs), reveal(new.inputs))
        if found.changes is False and not found.replaces:
            return Diff([])
        changed = changed or ([] if found.changes is None else ["outputs"])
        return Diff(changed, bool(found.replaces), bool(found.delete_before_replace))

    def create(self, new: Resource) -> tuple[str, Properties]:
        made = self._of(new).create(reveal(new.inputs))
        return made.id, self._kept(made.outs, new.inputs)

    def update(self, old: Resource, new: Resource) -> Properties:
        updated = self._of(new).update(old.id, reveal(old.outputs), reveal(new.inputs))
        return self._kept(updated.outs, new.inputs)

    def delete(self, old: Resource) -> None:
        self._of(old).delete(old.id, reveal(old.outputs))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        found = self._of(old).read(old.id, reveal(old.outputs))
        outputs = values.hide_like(self._kept(found.outs, old.inputs), old.outputs)
        return (outputs, ", ".join(changed_names(old.outputs, outputs))) if found.id else None

    def _of(self, resource: Resource) -> ResourceProvider:
        return self._load(reveal(resource.inputs[_PROVIDER]))

    def _kept(self, properties: dict[str, Any] | None, inputs: Properties) -> Properties:
        struct = asyncio.run(rpc.serialize_properties(properties or {}, {}))
        kept = {**values.from_struct(struct), _PROVIDER: inputs[_PROVIDER]}
        return values.hide_like(kept, inputs)


def _load(pickled: str, config: dict[str, str]) -> ResourceProvider:
    # The pickle is the program's own, from this process or from the state that it alone writes.
    provider: ResourceProvider = dill.loads(b64decode(pickled))  # noqa: S301
    provider.configure(ConfigureRequest(Config(config, PROJECT)))
    return provider
