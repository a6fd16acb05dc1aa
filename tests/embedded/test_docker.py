"""Docker's part: bodies without a daemon, and (live) networks, volumes and containers in one."""

import re
from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container

from stacks.embedded import docker_body
from stacks.errors import CrmError
from tests.embedded import image
from tests.embedded.conftest import Project
from tests.embedded.names import PREFIX, STACK
from tests.embedded.test_engine import changes

IMAGE = f"{PREFIX}:1"
HEAD = f'''
import hashlib, json
import pulumi
import pulumi_docker as docker

config = pulumi.Config()
LABELS = [{{"label": "crm.stack", "value": pulumi.get_stack()}}]
MEMORY = config.get_int("memory") or 32
network = docker.Network(
    "network", name="{PREFIX}-network", driver="bridge", internal=True, labels=LABELS
)
data = docker.Volume(
    "data", name="{PREFIX}-data", labels=LABELS, opts=pulumi.ResourceOptions(protect=True)
)


def container(name, full_name, command=("sleep", "1000"), opts=None, **more):
    return docker.Container(
        name, name="{PREFIX}-" + full_name, image="{IMAGE}", command=list(command),
        labels=LABELS, memory=MEMORY, memory_swap=MEMORY, must_run=True, destroy_grace_seconds=1,
        stop_signal="SIGKILL", opts=opts,
        networks_advanced=[{{"name": network.name, "aliases": [name]}}], **more,
    )


def check(*command):
    return {{"tests": ["CMD", *command], "interval": "1s", "timeout": "1s", "retries": 1}}
'''
ILL = """\
{"tests": ["CMD", "sh", "-c", "echo ill; exit 1"], "interval": "1s", "timeout": "9s", "retries": 1}
"""
SMALL = """
database = container(
    "database", "database", cpus="0.5", read_only=True,
    volumes=[{"volume_name": data.name, "container_path": "/data"}],
    opts=pulumi.ResourceOptions(delete_before_replace=True),
)
before = database
for number in range(config.get_int("replicas") or 2):
    shape = hashlib.sha256(str(MEMORY).encode()).hexdigest()[:8]
    before = container(
        f"app-{number}", f"app-{number}-{shape}", wait=True, wait_timeout=20,
        healthcheck=check("sleep", "0"),
        opts=pulumi.ResourceOptions(depends_on=[before], delete_before_replace=False),
    )
pulumi.export("network", network.name)
"""


def test_unknown_input_is_refused_by_name() -> None:
    kind = "docker:index/container:Container"
    with pytest.raises(CrmError, match=r"web: .* knows no 'privileged' of docker:index/container"):
        docker_body.refuse_unknown(kind, "web", {"image": "x", "privileged": True})
    with pytest.raises(CrmError, match="knows no 'hostPath' of volumes"):
        docker_body.refuse_unknown(kind, "web", {"volumes": [{"hostPath": "/etc"}]})


def test_body_has_the_sizes_asked_for() -> None:
    inputs = {
        **{
            "image": "x",
            "memory": 64,
            "memorySwap": 64,
            "cpus": "0.5",
            "tmpfs": {"/tmp": "size=1m"},
        },
        "ports": [{"internal": 80, "external": 8080, "ip": "127.0.0.1"}],
        "volumes": [{"volumeName": "v", "containerPath": "/d", "readOnly": True}],
        "healthcheck": {"tests": ["CMD", "x"], "interval": "1m2s", "timeout": "0.5s", "retries": 3},
    }
    body = docker_body.container(inputs, {"a": "b"})
    host = body["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (2**26, 2**26, 500_000_000)
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert host["Binds"] == ["v:/d:ro"]
    assert body["Healthcheck"]["Interval"] == 62_000_000_000
    assert body["Healthcheck"]["Timeout"] == 500_000_000
    assert "Cmd" not in body


def test_duration_that_is_not_known_is_refused() -> None:
    inputs = {"image": "x", "healthcheck": {"tests": ["NONE"], "interval": "soon"}}
    with pytest.raises(CrmError, match="'soon' is no duration; right would be 2s"):
        docker_body.container(inputs, {})


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    """A client of the daemon, where the image of these tests is made."""
    made = docker.from_env()
    image.make(made, IMAGE)
    yield made
    made.images.remove(IMAGE, force=True)
    made.close()


@pytest.fixture
def stack(project: Project, client: docker.DockerClient) -> Iterator[Project]:
    """A project of one network, one volume, a database and two replicas of an app."""
    project.program(SMALL, HEAD)
    clean(client)
    yield project
    clean(client)


def clean(client: docker.DockerClient) -> None:
    """Remove everything a test may have left."""
    for kept in ours(client):
        kept.remove(force=True)
    for network in client.networks.list(names=[PREFIX]):
        network.remove()
    for volume in client.volumes.list(filters={"name": PREFIX}):
        volume.remove(force=True)


def ours(client: docker.DockerClient) -> list[Container]:
    """The containers of these tests, by name."""
    found = client.containers.list(all=True, filters={"name": f"^{PREFIX}"})
    return sorted(found, key=lambda container: str(container.name))


def names(client: docker.DockerClient) -> list[str]:
    """Their names, the shared beginning and the hashes left out."""
    shown = [str(container.name).removeprefix(f"{PREFIX}-") for container in ours(client)]
    return [re.sub("-[0-9a-f]{8}$", "", name) for name in shown]


@pytest.mark.live
def test_stack_lives_changes_and_goes(stack: Project, client: docker.DockerClient) -> None:
    assert changes(stack.run("up")) == {"create": 6}
    assert names(client) == ["app-0", "app-1", "database"]
    database = client.containers.get(f"{PREFIX}-database")
    host = database.attrs["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["ReadonlyRootfs"]) == (2**25, 500_000_000, True)
    assert database.labels["crm.stack"] == STACK
    assert database.labels["crm.urn"].endswith("docker:index/container:Container::database")
    assert len(database.labels["crm.inputs"]) == 64
    assert changes(stack.run("up")) == {"same": 6}

    stack.config("config: {crm:memory: 48, crm:replicas: 1}")
    answer = stack.run("up")
    assert changes(answer) == {"replace": 2, "delete": 1, "same": 3}
    done = [(e["op"], e["name"]) for e in answer["events"] if e["status"] == "done"]
    assert done.index(("delete", "database")) < done.index(("replace", "database"))
    assert done.index(("replace", "app-0")) < done.index(("delete", "app-0"))
    assert names(client) == ["app-0", "database"]

    assert changes(stack.run("destroy")) == {"delete": 3}
    assert names(client) == []
    assert client.volumes.get(f"{PREFIX}-data")
    assert not client.networks.list(names=[PREFIX])
    assert changes(stack.run("up")) == {"create": 3, "same": 2}
    assert changes(stack.run("destroy", delete_data=True)) == {"delete": 5}
    assert not client.volumes.list(filters={"name": PREFIX})


@pytest.mark.live
@pytest.mark.parametrize(
    "place",
    ["made-unrecorded:1", "made-unrecorded:3", "started-unawaited:4", "half-written:9"],
)
def test_killed_first_up_converges(stack: Project, client: docker.DockerClient, place: str) -> None:
    stack.run("up", kill_at=place)
    assert stack.run("up")["result"] == "succeeded"
    assert names(client) == ["app-0", "app-1", "database"]
    assert changes(stack.run("up")) == {"same": 6}
    stack.run("destroy", delete_data=True)
    assert names(client) == []


@pytest.mark.live
@pytest.mark.parametrize(
    "place", ["deleting:1", "deleted-unrecorded:1", "deleted-unrecorded:2", "made-unrecorded:2"]
)
def test_killed_change_converges_also_when_taken_back(
    stack: Project, client: docker.DockerClient, place: str
) -> None:
    stack.run("up")
    stack.config("config: {crm:memory: 48}")
    stack.run("up", kill_at=place)
    stack.config("config: {}")
    assert stack.run("up")["result"] == "succeeded"
    assert names(client) == ["app-0", "app-1", "database"]
    assert {c.attrs["HostConfig"]["Memory"] for c in ours(client)} == {2**25}
    assert changes(stack.run("up")) == {"same": 6}


@pytest.mark.live
def test_killed_destroy_converges(stack: Project, client: docker.DockerClient) -> None:
    stack.run("up")
    stack.run("destroy", kill_at="deleted-unrecorded:2")
    assert stack.run("destroy")["result"] == "succeeded"
    assert names(client) == []
    assert not client.networks.list(names=[PREFIX])


@pytest.mark.live
def test_drift_is_shown_then_mended(stack: Project, client: docker.DockerClient) -> None:
    stack.run("up")
    client.containers.get(f"{PREFIX}-database").stop(timeout=0)
    ours(client)[0].remove(force=True)
    drift = ["Container database: not running (exit code 137)", "Container app-0: gone"]
    assert sorted(stack.run("refresh", preview_only=True)["drift"]) == sorted(drift)
    assert sorted(stack.run("refresh")["drift"]) == sorted(drift)
    assert changes(stack.run("up")) == {"create": 1, "replace": 1, "same": 4}
    assert stack.run("refresh")["drift"] == []
    assert {container.status for container in ours(client)} == {"running"}


@pytest.mark.live
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('command=("sh", "-c", "echo last words; exit 3")', "ended with exit code 3\nlast words"),
        (f"wait=True, wait_timeout=10, healthcheck={ILL}", "ill"),
    ],
    ids=["ends", "ill"],
)
def test_container_that_does_not_get_there_is_removed_with_its_last_words(
    stack: Project, client: docker.DockerClient, more: str, message: str
) -> None:
    stack.program(f'container("bad", "bad", {more})', HEAD)
    answer = stack.run("up")
    assert answer["result"] == "failed"
    assert answer["message"].startswith("Container bad: create failed: ")
    assert message in answer["message"]
    assert names(client) == []


@pytest.mark.live
def test_what_belongs_to_others_is_left_alone(stack: Project, client: docker.DockerClient) -> None:
    other = client.containers.create(IMAGE, ["sleep", "1"], name=f"{PREFIX}-database")
    answer = stack.run("up")
    assert "database is there already and not ours" in answer["message"]
    assert client.containers.get(str(other.id))


@pytest.mark.live
def test_stack_whose_state_is_elsewhere_is_refused(
    stack: Project, client: docker.DockerClient
) -> None:
    client.networks.create(f"{PREFIX}-network", labels={"crm.stack": STACK})
    for verb in ("preview", "up"):
        answer = stack.run(verb)
        assert answer["result"] == "failed"
        assert f"Docker has {PREFIX}-network" in answer["message"]
        assert (
            f"docker rm -f $(docker ps -aq --filter label=crm.stack={STACK})" in answer["message"]
        )
    assert not list((stack.folder / "state").rglob("*.json"))
