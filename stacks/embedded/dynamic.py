"""Dynamic resources: their provider travels pickled in the inputs and is called in this process.

The meaning of each call is that of the SDK's provider server (pulumi/dynamic/__main__.py).
"""

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from typing import Any

import dill
from pulumi.dynamic import Config, ConfigureRequest, ResourceProvider
from pulumi.runtime import rpc

from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.embedded.store import PROJECT
from stacks.embedded.values import (
    Properties,
    changed_names,
    from_struct,
    has_unknown,
    hide_like,
    reveal,
)
from stacks.errors import CrmError

PROVIDER = "__provider"


class DynamicHandler:
    """Calls the providers of dynamic resources. ``config`` is the stack's, secrets opened."""

    replaces_on_change = False

    def __init__(self, config: Mapping[str, str]) -> None:
        self._load = cache(lambda pickled: _load(pickled, config))

    def check(self, new: Resource, old: Resource | None) -> Properties:
        """The inputs as the provider wants them; raises ``CrmError`` with its complaints."""
        if has_unknown(new.inputs):
            return new.inputs
        checked = self._of(new).check(reveal(old.inputs) if old else {}, reveal(new.inputs))
        if checked.failures:
            complaints = "; ".join(f"{f.property}: {f.reason}" for f in checked.failures)
            raise CrmError(f"{new.name}: {complaints}")
        return self._finish(checked.inputs, new.inputs)

    def diff(self, old: Resource, new: Resource) -> Diff:
        """What the provider says has changed; inputs not known yet count as changed."""
        changed = [name for name in changed_names(old.inputs, new.inputs) if name != PROVIDER]
        if has_unknown(new.inputs):
            return Diff(changed)
        found = self._of(new).diff(old.id, reveal(old.outputs), reveal(new.inputs))
        if found.changes is None:
            return Diff(changed_names(old.inputs, new.inputs), bool(found.replaces))
        if not found.changes and not found.replaces:
            return Diff([])
        first = bool(found.delete_before_replace)
        return Diff(changed or ["its provider"], bool(found.replaces), first)

    def create(self, new: Resource) -> tuple[str, Properties]:
        """The id and outputs of what the provider made."""
        made = self._of(new).create(reveal(new.inputs))
        return made.id, self._finish(made.outs or {}, new.inputs)

    def update(self, old: Resource, new: Resource) -> Properties:
        """The outputs after the provider's update."""
        updated = self._of(new).update(old.id, reveal(old.outputs), reveal(new.inputs))
        return self._finish(updated.outs or {}, new.inputs)

    def delete(self, old: Resource) -> None:
        """Has the provider delete it."""
        self._of(old).delete(old.id, reveal(old.outputs))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The outputs as the provider finds them and which of them drifted."""
        found = self._of(old).read(old.id, reveal(old.outputs))
        if not found.id:
            return None
        outputs = hide_like(self._finish(found.outs or {}, old.inputs), old.outputs)
        return outputs, ", ".join(changed_names(old.outputs, outputs))

    def _of(self, resource: Resource) -> ResourceProvider:
        return self._load(reveal(resource.inputs[PROVIDER]))

    def _finish(self, properties: Mapping[str, Any], inputs: Properties) -> Properties:
        struct = asyncio.run(rpc.serialize_properties(dict(properties), {}))
        return hide_like({**from_struct(struct), PROVIDER: inputs[PROVIDER]}, inputs)


def _load(pickled: str, config: Mapping[str, str]) -> ResourceProvider:
    # The pickle is the program's own, from this process or from the state it alone writes.
    provider: ResourceProvider = dill.loads(b64decode(pickled))  # noqa: S301
    provider.configure(ConfigureRequest(Config(dict(config), PROJECT)))
    return provider
