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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from pulumi import RunError, runtime
from pulumi.runtime.proto import engine_pb2, resource_pb2

from stacks.embedded.deployment import Deployment
from stacks.embedded.state import STACK_TYPE, Resource
from stacks.embedded.store import PROJECT
from stacks.embedded.values import Properties, from_struct, hide, to_struct
from stacks.errors import CrmError

_log = logging.getLogger(__name__)

_HONOURED = {
    *("type", "name", "parent", "custom", "object", "protect", "dependencies", "version"),
    *("propertyDependencies", "deleteBeforeReplace", "deleteBeforeReplaceDefined"),
    *("additionalSecretOutputs", "retainOnDelete", "deletedWith"),
}
_IRRELEVANT = {
    *("acceptSecrets", "acceptResources", "supportsPartialValues", "supportsResultReporting"),
    *("sourcePosition", "stackTrace", "aliasSpecs", "accepts_byte_string"),
}
_FEATURES = [
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
]


class Monitor:
    """Serves the calls of the resource monitor and of the engine that our programs make."""

    def __init__(self, deployment: Deployment, config: dict[str, str], secret: list[str]) -> None:
        self._deployment = deployment
        self._config: Properties = {k: hide(v) if k in secret else v for k, v in config.items()}
        self._calls: dict[str, Callable[[Any], Any]] = {
            "GetDeploymentInfo": lambda _: resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES),
            "RegisterResource": self._register,
            "RegisterResourceOutputs": self._register_outputs,
            "SignalAndWaitForShutdown": lambda _: Empty(),
            "Log": self._message,
            "SetRootResource": lambda _: engine_pb2.SetRootResourceResponse(),
        }

    def __getattr__(self, call: str) -> Callable[[Any], Any]:
        def refuse(_request: Any) -> Any:
            raise CrmError(
                f"the embedded engine does not know Pulumi's {call}; use --engine pulumi"
            )

        return self._calls.get(call, refuse)

    def _register(self, request: Any) -> Any:
        self._refuse_unknown(request)
        new = Resource(
            urn=_urn(self._deployment.state.stack, request.parent, request.type, request.name),
            custom=request.custom,
            type=request.type,
            inputs=from_struct(request.object),
            parent=request.parent,
            protect=request.protect,
            dependencies=list(request.dependencies),
            property_dependencies={
                key: list(value.urns) for key, value in sorted(request.propertyDependencies.items())
            },
            additional_secret_outputs=list(request.additionalSecretOutputs),
            retain_on_delete=request.retainOnDelete,
            deleted_with=request.deletedWith,
        )
        if request.custom:
            new.provider = self._provider(request)
        first = request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None
        made = self._deployment.register(new, first)
        return resource_pb2.RegisterResourceResponse(
            urn=made.urn,
            id=made.id,
            object=to_struct(made.outputs),
            result=resource_pb2.Result.SUCCESS,
        )

    def _register_outputs(self, request: Any) -> Empty:
        self._deployment.outputs(request.urn, from_struct(request.outputs))
        return Empty()

    def _provider(self, request: Any) -> str:
        package = request.type.split(":")[0]
        if package == "pulumi-python":
            return self._deployment.provider(package, "default", self._config)
        name = f"default_{re.sub('[^0-9A-Za-z]', '_', request.version)}"
        return self._deployment.provider(package, name, {"version": request.version})

    def _message(self, request: Any) -> Empty:
        level = {engine_pb2.DEBUG: 10, engine_pb2.INFO: 20, engine_pb2.WARNING: 30}
        _log.log(level.get(request.severity, 40), "%s", request.message)
        return Empty()

    @staticmethod
    def _refuse_unknown(request: Any) -> None:
        where = f"{request.type} {request.name}"
        for option, value in request.ListFields():
            is_empty = isinstance(value, Message) and not value.ByteSize()
            if not is_empty and option.name not in _HONOURED | _IRRELEVANT:
                raise CrmError(
                    f"{where}: the embedded engine does not know the option {option.name};"
                    " leave it out or use --engine pulumi"
                )
        if (
            not request.custom
            and request.type != STACK_TYPE
            and not request.type.startswith("crm:")
        ):
            raise CrmError(f"{where}: components are named crm:<tier>:<Name>")


def run_program(
    program: Path,
    monitor: Monitor,
    stack: str,
    config: dict[str, str],
    secret: list[str],
    *,
    preview: bool,
) -> None:
    """Runs the program in ``program`` to its end, as the CLI's language host does.

    Raises ``CrmError`` with what went wrong, once every step that had begun has ended.
    """

    def run() -> None:
        runpy.run_path(str(program), run_name="__main__")

    async def main() -> None:
        # Everything the SDK keeps is a context variable: set in here, it ends with this run.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
        runtime.set_all_config(config, secret)
        runtime.configure(
            runtime.Settings(
                PROJECT,
                stack,
                monitor,
                monitor,
                dry_run=preview,
                organization="organization",
                root_directory=str(program.parent),
            )
        )
        await runtime.run_in_stack(run)

    # A failed program leaves futures nobody awaits; their complaints would bury the reason.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        with contextlib.chdir(program), _environment(config, secret):
            asyncio.run(main())
    except Exception as error:
        raise CrmError(_reason(error, program)) from error


@contextlib.contextmanager
def _environment(config: dict[str, str], secret: list[str]) -> Iterator[None]:
    # Programs may list their config, which the SDK reads from here. Secrets stay out of it:
    # child processes inherit the environment.
    before = os.environ.get("PULUMI_CONFIG")
    plain = {key: value for key, value in config.items() if key not in secret}
    os.environ["PULUMI_CONFIG"] = json.dumps(plain)
    try:
        yield
    finally:
        del os.environ["PULUMI_CONFIG"]
        if before is not None:
            os.environ["PULUMI_CONFIG"] = before


def _reason(error: BaseException, program: Path) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CrmError | RunError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(str(program))] or frames
    last = ours[-1]
    return f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}"


def _urn(stack: str, parent: str, kind: str, name: str) -> str:
    above = parent.split("::")[2] if parent else STACK_TYPE
    qualified = kind if above == STACK_TYPE else f"{above}${kind}"
    return f"urn:pulumi:{stack}::{PROJECT}::{qualified}::{name}"
