"""The command line around the engines: progress, the target a stack is on, ways out."""

import fcntl
import json
from pathlib import Path

import pytest

from stacks import deploy, engine_cli_cluster, engines, stack_file
from stacks.results import Event
from tests import project as projects

DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def state(folder: Path, stack: str, *types: str) -> None:
    """A checkpoint that knows a resource of each of ``types``."""
    file = folder / ".pulumi" / "stacks" / "crm" / f"{stack}.json"
    file.parent.mkdir(parents=True)
    resources = [{"urn": f"urn:{kind}", "type": kind} for kind in types]
    latest = {"manifest": {"version": "v3.260.0"}, "resources": resources}
    file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))


@pytest.mark.parametrize(
    ("types", "target"),
    [
        (["pulumi:pulumi:Stack", "docker:index/volume:Volume"], "docker"),
        (["pulumi:pulumi:Stack", "kubernetes:core/v1:PersistentVolumeClaim"], "kubernetes"),
        (["pulumi:pulumi:Stack", "pulumi:providers:kubernetes"], None),
        ([], None),
    ],
)
def test_state_tells_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: list[str], target: str | None
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    assert engines.target_of("sales") is None
    state(tmp_path, "sales", *types)
    assert engines.target_of("sales") == target


@pytest.mark.parametrize("verb", ["preview", "up"])
def test_deployed_stack_keeps_its_target(
    project: projects.Project, tmp_path: Path, verb: str
) -> None:
    projects.copy(project.root, under=("app/",))
    state(tmp_path / "state", "dev", DEPLOYMENT)
    done = project.crm(verb, "dev", PULUMI_BACKEND_URL=f"file://{tmp_path / 'state'}")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "Pulumi.dev.yaml: crm:target: dev is deployed with target kubernetes" in done.err
    assert "crm destroy dev --delete-data" in done.err


@pytest.mark.parametrize("engine", ["auto", "embedded", "pulumi"])
@pytest.mark.parametrize("verb", ["outputs", "refresh"])
def test_stack_that_was_never_deployed_has_nothing_to_look_at(
    project: projects.Project, tmp_path: Path, verb: str, engine: str
) -> None:
    said = "dev: not deployed yet; run: crm up dev"
    done = project.crm(verb, "dev", "--engine", engine)
    assert (done.code, done.out, done.err) == (1, "", f"error: {said}\n")
    place = f"file://{tmp_path}"
    elsewhere = project.crm(verb, "dev", "--engine", engine, PULUMI_BACKEND_URL=place)
    assert elsewhere.err == f"error: {said}\n"
    if verb == "refresh":
        assert json.loads(project.crm(verb, "dev", "--json").out)["message"] == said
    assert "there is no such stack" in project.crm(verb, "nope").err


@pytest.mark.parametrize("verb", ["outputs", "refresh"])
def test_first_run_that_has_written_nothing_yet_is_to_be_waited_for(
    project: projects.Project, verb: str
) -> None:
    lock = project.root / ".crm/state/dev.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("4711")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        said = project.crm(verb, "dev").err
    assert said == "error: dev: process 4711 is changing this stack; wait for it to end\n"
    assert "not deployed yet" in project.crm(verb, "dev").err


def test_progress_says_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    progress = deploy._Progress()
    for status, seconds, detail in (
        ("begin", 0.0, ""),
        ("waiting", 1.0, "0 of 1 pods ready"),
        ("done", 3.25, ""),
    ):
        progress(Event("urn", DEPLOYMENT, "app-1", "create", status, seconds, detail))
    assert capsys.readouterr().err.splitlines() == [
        "  create   deployment app-1 …",
        "  create   deployment app-1: waiting for 0 of 1 pods ready",
        "  create   deployment app-1 done in 3.2 s",
    ]


@pytest.mark.parametrize(
    ("registry", "words"),
    [("", "write crm:images.registry"), ("registry.example.com", "is it in the registry")],
)
def test_image_that_cannot_be_pulled_has_a_way_out(
    project: projects.Project, monkeypatch: pytest.MonkeyPatch, registry: str, words: str
) -> None:
    if registry:
        file, part = "stacks/config/Pulumi.kubernetes.yaml", "  crm:edge:"
        project.edit(file, part, f"  crm:images:\n    registry: {registry}\n{part}")
    load, folder = stack_file.load, project.root / "stacks" / "config"
    monkeypatch.setattr(stack_file, "load", lambda stack: load(stack, folder))
    said = deploy._how_to_get_images("kubernetes")
    assert words in said
    assert "crm images push kubernetes" in said


def test_killed_run_of_the_cli_on_a_cluster_needs_no_docker() -> None:
    one, other = ({"urn": f"urn:{n}", "type": DEPLOYMENT} for n in ("app-1", "app-2"))
    begun = [
        {"type": "updating", "resource": {"urn": "urn:app-1", "type": DEPLOYMENT}},
        {"type": "creating", "resource": {"urn": "urn:app-3", "type": DEPLOYMENT}},
    ]
    deployment = {"resources": [one, other], "pending_operations": begun}
    assert engine_cli_cluster.is_meant(deployment)
    assert engine_cli_cluster.is_meant({"pending_operations": begun})
    assert not engine_cli_cluster.is_meant({"resources": [{"type": "docker:index/x:X"}]})
    engine_cli_cluster.put_right(deployment)
    assert deployment == {"resources": [{**one, "refreshBeforeUpdate": True}, other]}
