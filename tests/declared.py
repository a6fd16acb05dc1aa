"""``python -m tests.declared STACK [CONTEXT]``: what the Kubernetes target declares, as JSON.

Pulumi's mocks leave event loops behind, so they get a process of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import msgspec
import pulumi
from pulumi.runtime import mocks

from stacks import plan, render, stack_file, tiers
from stacks.targets import kubernetes, kubernetes_host

APP = "crm-app:0123456789ab"
PASSWORD = "canary-0123456789abcdef"
CERTIFICATE = {f"database_tls_{name}": name for name in ("ca", "certificate", "key")}
"""What is made before either target is asked."""
GIVEN = {"cache_password": "given-0123456789abcdef", **CERTIFICATE}
"""What the stack takes from elsewhere."""


class Recorder(mocks.Mocks):
    """Every resource as it was registered, by name."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = dict(args.inputs)
        self.seen[args.name] = {"type": args.typ, "inputs": inputs, "provider": args.provider}
        outputs = dict(inputs)
        if args.typ == "kubernetes:core/v1:Secret":
            outputs["metadata"] = {**outputs["metadata"], "resourceVersion": f"of-{args.name}"}
        if args.name in ("cache_password",) or args.name.startswith("database_"):
            outputs["value"] = PASSWORD
        return f"{args.name}-id", outputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise AssertionError(f"nothing is asked of a provider: {args.token}")


class Cluster:
    """Knows where the edge is."""

    def url_of(self, namespace: str, service: str, ingress: str) -> str:
        return f"http://{namespace}/{service}/{ingress}"


def main(stack: str, context: str | None = None) -> None:
    """Declare ``stack`` against the mocks and print what was registered."""
    kubernetes_host.connect = lambda _context=None: Cluster()  # type: ignore[assignment,return-value]
    made = plan.make(stack, stack_file.load(stack))
    made = msgspec.structs.replace(
        made, kubernetes=msgspec.structs.replace(made.kubernetes, context=context)
    )
    workloads = tiers.workloads(made, render.Renderer().tree(made), APP)
    recorder, outputs = Recorder(), dict[str, Any]()

    def program() -> None:
        for name, value in kubernetes.deploy(made, workloads, GIVEN).items():
            pulumi.Output.from_input(value).apply(
                lambda known, name=name: outputs.update({name: known})  # type: ignore[misc]
            )

    async def run() -> None:
        mocks.set_mocks(recorder, project="crm", stack=stack, preview=False)
        await pulumi.runtime.stack.run_pulumi_func(program)

    asyncio.run(run())
    print(json.dumps({"resources": recorder.seen, "outputs": outputs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
