"""The two engines behind one interface: which one a stack belongs to, and how to drive it.

The engine is Pulumi; where its CLI cannot be had, the embedded engine runs the same program. A
stack remembers which of them made it, in the state both keep in the same folder and format.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from stacks import shard_map, stack_file
from stacks.errors import CrmError
from stacks.paths import LOCAL, PASSPHRASE, STATE
from stacks.pulumi_state.files import Store
from stacks.results import Event, Result
from stacks.services import numbered
from stacks.workload import STACK_LABEL

Name = Literal["pulumi", "embedded"]
NAMES: tuple[Name, ...] = ("pulumi", "embedded")
_EMBEDDED_MARK = "crm-embedded"
_DATA = r"::database-\d+-data$"


class Engine(Protocol):
    """What the command line needs of an engine."""

    def preview(self) -> Result:
        """What ``up`` would do; nothing is changed."""

    def up(self) -> Result:
        """Make the stack what its file says."""

    def refresh(self, *, preview_only: bool = False) -> Result:
        """Compare the state with what really runs, and correct the state."""

    def destroy(self, *, delete_data: bool = False, preview_only: bool = False) -> Result:
        """Remove what the stack runs; data and the secrets that open it only when asked."""

    def outputs(self, *, show_secrets: bool = False) -> dict[str, object]:
        """What the program exported when it last ran."""


def backend() -> str:
    """Where state is kept, as a URL: ``PULUMI_BACKEND_URL``, or this checkout's own folder."""
    return os.environ.get("PULUMI_BACKEND_URL") or f"file://{STATE}"


def passphrase() -> str:
    """What opens the secrets in the state: Pulumi's own variables, or this checkout's own file.

    The file is made when it is first needed; whoever loses it loses the secrets.
    """
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:
        return os.environ["PULUMI_CONFIG_PASSPHRASE"]
    named = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    path = Path(named) if named else PASSPHRASE
    if not path.exists():
        if named:
            raise CrmError(f"PULUMI_CONFIG_PASSPHRASE_FILE: there is no file {path}")
        make_local()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").rstrip("\n")


def make_local() -> None:
    """Make ``.crm/`` and the state's folder, for this user alone."""
    LOCAL.mkdir(mode=0o700, exist_ok=True)
    STATE.mkdir(mode=0o700, exist_ok=True)


def maker_of(stack: str) -> Name | None:
    """The engine that made ``stack``, or ``None`` when there is no such state here."""
    latest = _latest(stack)
    if not latest:
        return None  # As `pulumi stack init` leaves it: nobody has deployed anything yet.
    version = str((latest.get("manifest") or {}).get("version", ""))
    return "embedded" if version.startswith(_EMBEDDED_MARK) else "pulumi"


def refuse_undeployed(stack: str) -> None:
    """Raise ``CrmError`` when no state here knows of ``stack``; only the CLI can ask elsewhere."""
    if backend().startswith("file://") and maker_of(stack) is None:
        stack_file.find(stack)
        Store(_folder(), stack).refuse_other_run()  # Its first one, which has written nothing yet.
        raise CrmError(f"{stack}: not deployed yet; run: crm up {stack}")


def target_of(stack: str) -> str | None:
    """The target that what the state knows of ``stack`` is on; ``None`` when it knows nothing."""
    packages = {str(r.get("type")).partition(":")[0] for r in _latest(stack).get("resources") or ()}
    return next((target for target in ("docker", "kubernetes") if target in packages), None)


def shard_map_of(stack: str) -> shard_map.Map | None:
    """The map that the rows of ``stack`` lie by; ``None`` where the state knows of none.

    It is what the application was given: that comes after the schema job, which every server has
    to agree to. Of a stack that was destroyed there are only the shards' volumes, and all of them.
    """
    resources = [r for r in _latest(stack).get("resources") or () if r.get("custom")]
    runs = [r.get("inputs") for r in resources if str(r.get("type")).endswith(":Deployment")]
    used = json.dumps(runs)
    for resource in resources:
        kind, inputs = str(resource.get("type")), resource.get("inputs") or {}
        if kind.endswith("crm:Files") and not str(resource["urn"]).endswith("::schema-files"):
            files = inputs.get("files") or {}
        elif kind.endswith(":ConfigMap") and f'"{inputs["metadata"]["name"]}"' in used:
            files = inputs.get("data") or {}
        else:
            continue
        if "app.json" in files:
            return shard_map.given(files["app.json"])
    kept = [r for r in resources if r.get("protect") and re.search(_DATA, str(r.get("urn")))]
    others = [r for r in resources if not r.get("protect") and not _is_frame(str(r.get("type")))]
    names = numbered("database", len(kept))
    return shard_map.of(names) if kept and not others else None


def _is_frame(kind: str) -> bool:
    """Whether it is what a stack's data is left with when all else is destroyed."""
    return kind.startswith("pulumi:") or kind.endswith(":Namespace")


def _latest(stack: str) -> dict[str, Any]:
    """What the state says, empty where there is none in a folder of this machine."""
    if not backend().startswith("file://"):
        return {}
    store = Store(_folder(), stack)
    try:
        return store.read().get("latest") or {}
    except (ValueError, KeyError, TypeError) as error:
        raise CrmError(f"{store.checkpoint}: this is no state of Pulumi's: {error}") from None


def _folder() -> Path:
    return Path(backend().removeprefix("file://"))


def choose(stack: str, wanted: str) -> Name:
    """The engine to use: as asked, else the one that made the stack, else the CLI if there is one.

    Raises ``CrmError`` when the stack belongs to the other one: nothing is deployed twice.
    """
    maker = maker_of(stack)
    found = shutil.which("pulumi") is not None
    name: Name
    if wanted == "auto":
        name = maker or ("pulumi" if found else "embedded")
    else:
        name = "pulumi" if wanted == "pulumi" else "embedded"
    if maker is not None and maker != name:
        raise CrmError(
            f"{stack}: this stack belongs to the {maker} engine; "
            f"to give it to the {name} engine, run: crm handover {stack} --to {name}"
        )
    if name == "pulumi" and not found:
        raise CrmError(
            "there is no `pulumi` on PATH; install it (https://www.pulumi.com/docs/install/)"
            + ("" if maker else ", or use `--engine embedded`")
        )
    if name == "embedded" and not backend().startswith("file://"):
        raise CrmError(
            "PULUMI_BACKEND_URL: the embedded engine keeps its state in a folder; "
            "unset it, or write file:///…"
        )
    return name


def open_engine(stack: str, wanted: str, on_event: Callable[[Event], None]) -> Engine:
    """The engine of ``stack``, ready to run. Raises ``CrmError`` where ``choose`` does."""
    path = stack_file.find(stack)
    name = choose(stack, wanted)
    make_local()
    if name == "pulumi":
        from stacks.engine_cli import CliEngine

        return CliEngine(stack, path, backend(), passphrase(), on_event, _reasons)
    return _embedded(stack, path, on_event)


def _reasons(stack: str) -> list[str]:
    """What a cluster says of the pods of ``stack`` that are not ready; its provider says less."""
    if target_of(stack) != "kubernetes":
        return []
    from stacks import plan
    from stacks.targets import kubernetes_host

    asked = plan.make(stack, stack_file.load(stack)).kubernetes
    try:
        cluster = kubernetes_host.connect(asked.context)
        return cluster.reasons(asked.namespace, {STACK_LABEL: stack})
    except CrmError:
        return []  # The failure itself is told all the same.


def _embedded(stack: str, path: Path, on_event: Callable[[Event], None]) -> Engine:
    from stacks import policy_gate
    from stacks.embedded import EmbeddedEngine

    return EmbeddedEngine(
        stack,
        backend=_folder(),
        passphrase=passphrase(),
        stack_file=path,
        program=Path(__file__).parent,
        on_event=on_event,
        judge=partial(policy_gate.judging, stack),
    )


def hand_over(stack: str, to: str) -> str:
    """Give ``stack`` to the engine named ``to``; returns a sentence saying what that means."""
    path = stack_file.find(stack)
    maker = maker_of(stack)
    if maker is None:
        raise CrmError(f"{stack}: there is no state here to hand over; run: crm up {stack}")
    if maker == to:
        return f"{stack} belongs to the {to} engine already."
    from stacks.embedded import EmbeddedEngine

    engine = _embedded(stack, path, lambda _: None)
    assert isinstance(engine, EmbeddedEngine)
    engine.handover(to)
    return (
        f"{stack} belongs to the {to} engine now. Its next `up` may replace containers, never "
        f"volumes, networks or credentials; see it first with: crm preview {stack}"
    )
