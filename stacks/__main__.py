"""The Pulumi program: stack file → plan → files → workloads → target → outputs."""

import json

import pulumi

from stacks import images, plan, render, secret_sources, stack_file, tiers
from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.targets import choice


def _config() -> tuple[dict[str, object], list[str]]:
    """This stack's own config values, by their bare names, and the names of those encrypted."""
    found: dict[str, object] = {}
    encrypted = []
    prefix = f"{stack_file.NAMESPACE}:"
    for key, text in pulumi.runtime.get_config_env().items():
        if not key.startswith(prefix):
            continue
        if pulumi.runtime.is_config_secret(key):
            encrypted.append(key.removeprefix(prefix))
        else:
            found[key.removeprefix(prefix)] = _value(text)
    return found, encrypted


def _value(text: str) -> object:
    """Pulumi hands every value over as text: structures as JSON, the rest as written."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    """Declare the stack that Pulumi asks for."""
    stack = pulumi.get_stack()
    config, encrypted = _config()
    planned = plan.make(stack, stack_file.parse(config, stack, encrypted=encrypted))
    files = render.Renderer().tree(planned)
    workloads = tiers.workloads(planned, files, images.app_reference(ROOT))
    choice.check(planned, workloads)
    for name, value in choice.deploy(planned, workloads, secret_sources.of(planned)).items():
        pulumi.export(name, value)
    pulumi.export("target", planned.target)
    pulumi.export("app_replicas", len(planned.app.instances))
    pulumi.export("shards", [shard.name for shard in planned.database.shards])
    pulumi.export("cache_nodes", [node.name for node in planned.cache.nodes])


try:
    main()
except CrmError as error:
    # RunError is Pulumi's way to fail with a sentence and no traceback.
    raise pulumi.RunError(str(error)) from None
