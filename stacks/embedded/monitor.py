"""The other end of the SDK: what a program registers arrives here, in this process.

The SDK takes objects in the place of its gRPC stubs (``pulumi.runtime.Settings``), so nothing
listens on a port. It calls from several threads at once and awaits dependencies by itself.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import runpy
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from pulumi import RunError, runtime
from pulumi.runtime.proto import resource_pb2

from stacks.embedded.deployment import Deployment
from stacks.embedded.state import STACK_TYPE, Resource
from stacks.errors import CrmError
from stacks.pulumi_state.files import PROJECT
from stacks.pulumi_state.values import from_struct, hide

_OPTIONS = (
    "type name parent custom object protect dependencies version propertyDependencies"
    " provider deleteBeforeReplace deleteBeforeReplaceDefined additionalSecretOutputs"
    # These change nothing here:
    " acceptSecrets acceptResources supportsPartialValues supportsResultReporting sourcePosition"
    " stackTrace customTimeouts"
)
_KUBERNETES = "pulumi:providers:kubernetes"
# The context, and what this engine does anyway.
_PROVIDER_INPUTS = "context enableServerSideApply enableSecretMutable upsertExistingObjects"
_FEATURES = [
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
]
_log = logging.getLogger(__name__)


class Monitor:
    """Serves those calls of Pulumi's resource monitor and engine that our programs make.

    ``config`` is the stack's, ``secret`` those of its keys that are.
    """

    def __init__(self, deployment: Deployment, config: dict[str, str], secret: list[str]) -> None:
        self.deployment, self.config, self.secret = deployment, config, secret
        self._calls: dict[str, Callable[[Any], Any]] = {
            "GetDeploymentInfo": lambda _: resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES),
            "RegisterResource": self._register,
            "RegisterResourceOutputs": self._register_outputs,
            "SignalAndWaitForShutdown": lambda _: Empty(),
            # Severities run from 0, debug, to 3, error; the logging module's from 10 to 40.
            "Log": lambda sent: _log.log(10 * sent.severity + 10, "%s", sent.message),
        }

    def __getattr__(self, call: str) -> Callable[[Any], Any]:
        def refuse(_request: Any) -> Any:
            raise CrmError(f"the embedded engine knows no {call} of Pulumi's; use --engine pulumi")

        return self._calls.get(call, refuse)

    def _register(self, request: Any) -> Any:
        _refuse_unknown(request)
        if request.type == _KUBERNETES:
            inputs = {**from_struct(request.object), "version": request.version}
            own = self.deployment.provider(request.type, request.name, inputs, request.parent)
            return resource_pb2.RegisterResourceResponse(urn=own.urn, id=own.id)
        property_dependencies = sorted(request.propertyDependencies.items())
        new = Resource(
            urn=_urn(self.deployment.state.stack, request.parent, request.type, request.name),
            custom=request.custom,
            type=request.type,
            inputs=from_struct(request.object),
            parent=request.parent,
            protect=request.protect,
            dependencies=list(request.dependencies),
            property_dependencies={key: list(value.urns) for key, value in property_dependencies},
            additional_secret_outputs=list(request.additionalSecretOutputs),
            provider=self._provider(request) if request.custom else "",
        )
        first = request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None
        try:
            made = self.deployment.register(new, first)
        except Exception as error:
            kind = "" if isinstance(error, CrmError) else f"{new.label}: {type(error).__name__}: "
            self.deployment.stop(f"{kind}{error}")
            raise
        outputs = ParseDict(made.outputs, Struct())
        return resource_pb2.RegisterResourceResponse(urn=made.urn, id=made.id, object=outputs)

    def _register_outputs(self, request: Any) -> Empty:
        self.deployment.state.registered[request.urn].outputs = from_struct(request.outputs)
        return Empty()

    def _provider(self, request: Any) -> str:
        if request.provider:
            return str(request.provider)
        package, version = request.type.split(":")[0], request.version
        name, inputs = "default_" + re.sub(r"\W", "_", version), {"version": version}
        if package == "pulumi-python":
            name = "default"
            inputs = {k: hide(v) if k in self.secret else v for k, v in self.config.items()}
        made = self.deployment.provider(f"pulumi:providers:{package}", name, inputs)
        return f"{made.urn}::{made.id}"


def run_program(program: Path, monitor: Monitor, run: Callable[[], Any] | None = None) -> None:
    """Runs the program in the folder ``program`` to its end, as the CLI's language host does, or
    ``run`` in its place.

    Raises ``CrmError`` with what went wrong, once every step that had begun has ended.
    """
    entry: Callable[[], Any] = run or partial(runpy.run_path, str(program), run_name="__main__")

    async def main() -> None:
        # Everything the SDK keeps is a context variable: set in here, it ends with this run.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
        runtime.set_all_config(monitor.config, monitor.secret)
        settings = runtime.Settings(PROJECT, monitor.deployment.state.stack, monitor, monitor)
        settings.dry_run, settings.organization = monitor.deployment.is_preview, "organization"
        settings.root_directory = str(program.parent)
        runtime.configure(settings)
        await runtime.run_in_stack(entry)

    # A failed program leaves futures nobody awaits; their complaints would bury the reason.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    # Programs that list their config do it here. Child processes inherit it: no secrets.
    plain = {key: text for key, text in monitor.config.items() if key not in monitor.secret}
    os.environ["PULUMI_CONFIG"] = json.dumps(plain)
    try:
        with contextlib.chdir(program):
            asyncio.run(main())
    except Exception as error:
        raise CrmError(_reason(error, program)) from error


def _reason(error: BaseException, program: Path) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CrmError | RunError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    frames = list(traceback.extract_tb(error.__traceback__))
    last = [frames[-1], *(f for f in frames if f.filename.startswith(str(program)))][-1]
    return f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}"


def _refuse_unknown(request: Any) -> None:
    where, hint = f"{request.type} {request.name}", "leave it out or use --engine pulumi"
    options = {option.name: value for option, value in request.ListFields()}
    given = [n for n, v in options.items() if not isinstance(v, Message) or v.ByteSize()]
    if request.type == _KUBERNETES:
        given += [
            f"input {name}" for name in request.object if name not in _PROVIDER_INPUTS.split()
        ]
    for option in given:
        if option not in _OPTIONS.split():
            raise CrmError(f"{where}: the embedded engine knows no option {option}; {hint}")
    is_component = not request.custom and request.type.startswith(("crm:", STACK_TYPE))
    is_known = request.type == _KUBERNETES or not request.type.startswith("pulumi:")
    if not is_component and not (request.custom and is_known):
        only = "default and kubernetes providers and crm: components"
        raise CrmError(f"{where}: the embedded engine knows only {only}")


def _urn(stack: str, parent: str, kind: str, name: str) -> str:
    above = parent.split("::")[2] if parent else STACK_TYPE
    qualified = kind if above == STACK_TYPE else f"{above}${kind}"
    return f"urn:pulumi:{stack}::{PROJECT}::{qualified}::{name}"
