"""What a fresh machine lacks and what would bring it: pure decisions over gathered facts.

Standard library only: this runs under the system's Python, before any environment exists.
"""

from dataclasses import dataclass
from typing import Literal

GIB = 1024**3
DISK_GIB = 6
"""Room for packages, images, volumes and the Python environment, measured at 3.5 GiB."""

Verb = Literal["up", "test", "cluster", "dev", "base"]
Action = Literal[
    "python",
    "environment",
    "docker",
    "daemon",
    "debootstrap",
    "images",
    "cluster-packages",
    "go",
    "cluster",
]


@dataclass(frozen=True)
class Facts:
    """One machine and checkout, as found; see ``bootstrap_facts``.

    ``docker``: "answers", "stopped" (installed, no daemon runs), "absent", "forbidden" (the socket
    refuses this user), "elsewhere" (the client reaches one through a context, programs do not),
    "remote" (``DOCKER_HOST`` names one that does not answer). ``environment``: "ready", "absent",
    "stale" (to be completed) or "broken" (to be made anew). ``images``: the missing ones, None when
    they cannot be known yet. ``registry``: None when nobody had to ask. ``cluster_*``: what the
    Kubernetes for tests lacks: Debian packages, a Go (as pip knows it), its built programs.
    """

    verb: Verb
    stack: str | None = None
    apt: bool = True
    root: bool = True
    systemd: bool = False
    python: str = "3.11"
    venv_module: bool = True
    environment: Literal["ready", "absent", "stale", "broken"] = "ready"
    docker: Literal["answers", "stopped", "absent", "forbidden", "elsewhere", "remote"] = "answers"
    docker_detail: str = ""
    images: tuple[str, ...] | None = ()
    registry: bool | None = None
    debootstrap: bool = True
    free_bytes: int = 100 * GIB
    pulumi: bool = True
    cluster_packages: tuple[str, ...] = ()
    cluster_go: str = ""
    cluster_built: bool = True


@dataclass(frozen=True)
class Row:
    """One line of the table: what is missing, from where it would come, whether root is needed."""

    what: str
    source: str
    root: bool


@dataclass(frozen=True)
class Step:
    """One thing to do, in order; ``title`` names it in the progress line."""

    action: Action
    title: str
    rows: tuple[Row, ...]


def extras(verb: Verb) -> str:
    """The optional dependencies a verb needs in the environment: people who deploy need none."""
    return "" if verb in {"up", "base", "cluster"} else "dev"


def needs_docker(verb: Verb) -> bool:
    return verb in {"up", "test", "cluster"}


def needs_images(verb: Verb) -> bool:
    return verb in {"up", "test"}


def needs_cluster(verb: Verb) -> bool:
    return verb in {"test", "cluster"}


def can_have_cluster(facts: Facts) -> bool:
    """Kubernetes' tests are skipped, with the reason, where their cluster cannot be had."""
    return facts.root and (facts.apt or not facts.cluster_packages)


def plan(facts: Facts) -> list[Step]:
    """Everything that is missing, in the order it has to come; empty when nothing is."""
    steps: list[Step] = []
    if facts.environment != "ready":
        if not facts.venv_module:
            package = f"python{facts.python}-venv"
            row = Row("Python's venv module", f"Debian package {package}", True)
            steps.append(Step("python", f"Python: apt-get install {package}", (row,)))
        wanted = f"pip install -e {requirement(facts.verb)}"
        row = Row("Python environment", f"package index: {wanted}, into .venv", False)
        steps.append(Step("environment", f"Python environment: {wanted}", (row,)))
    if not needs_docker(facts.verb):
        return steps
    if facts.docker == "absent":
        row = Row("Docker", "Debian package docker.io", True)
        steps.append(Step("docker", "Docker: apt-get install docker.io", (row,)))
    if facts.docker in {"absent", "stopped"}:
        how = "systemctl start docker" if facts.systemd else "dockerd, in the background"
        log = "" if facts.systemd else " (log: .crm/dockerd.log)"
        row = Row("Docker's daemon", f"{how}{log}", True)
        steps.append(Step("daemon", f"Docker's daemon: {how}", (row,)))
    if facts.images != ():
        if facts.registry is False and not facts.debootstrap:
            row = Row("debootstrap", "Debian package debootstrap (makes the base image)", True)
            steps.append(Step("debootstrap", "debootstrap: apt-get install debootstrap", (row,)))
        steps.append(Step("images", "Images", tuple(_image_rows(facts))))
    if needs_cluster(facts.verb) and (can_have_cluster(facts) or facts.verb == "cluster"):
        steps += _cluster_steps(facts)
    return steps


def _cluster_steps(facts: Facts) -> list[Step]:
    steps = []
    if packages := cluster_packages(facts):
        names = " ".join(packages)
        rows = tuple(
            Row(f"{CLUSTER_PARTS.get(name, name)}, for Kubernetes", f"Debian package {name}", True)
            for name in packages
        )
        steps.append(Step("cluster-packages", f"Kubernetes: apt-get install {names}", rows))
    if facts.cluster_go:
        source = f"package index: pip install {facts.cluster_go}, into .venv"
        row = Row("Go, to build Kubernetes", source, False)
        steps.append(Step("go", f"Go: pip install {facts.cluster_go}", (row,)))
    if not facts.cluster_built:
        source = "built here from Go modules, about ten minutes on two cores"
        row = Row("Kubernetes, for tests", source, False)
        steps.append(Step("cluster", "Kubernetes, built from Go modules", (row,)))
    return steps


def cluster_packages(facts: Facts) -> list[str]:
    """The Debian packages to install for Kubernetes, besides those docker.io brings."""
    brought = {"containerd", "runc", "iptables"} if facts.docker == "absent" else set()
    return [name for name in facts.cluster_packages if name not in brought]


CLUSTER_PARTS = {
    "etcd-server": "etcd",
    "containernetworking-plugins": "Network plugins",
}
"""Debian package → what people call it, where that is something else."""


def _image_rows(facts: Facts) -> list[Row]:
    if facts.registry is False:
        source, root = (
            "built here from Debian packages (no registry answers); not for production",
            True,
        )
    else:
        source, root = "pulled from its registry", False
    if facts.images is None:
        whose = f"Images of stack {facts.stack}" if facts.stack else "Images of every stack"
        # They are listed once the environment can read the stack; some may be here already.
        whose += ", those missing"
        return [Row(whose, source, root), Row("Image crm-app", "built here from app/", False)]
    return [
        Row(f"Image {name.partition(':')[0]}", "built here from app/", False)
        if name.startswith("crm-app:")
        else Row(f"Image {name}", source, root)
        for name in facts.images
    ]


def requirement(verb: Verb) -> str:
    """What pip installs for a verb, as people write it."""
    return f".[{extras(verb)}]" if extras(verb) else "."


def obstacles(facts: Facts, steps: list[Step]) -> list[str]:
    """Why the plan cannot be carried out here, each with the way out; empty when it can."""
    found = [*_docker_obstacles(facts)] if needs_docker(facts.verb) else []
    actions = {step.action for step in steps}
    again = f"then run `{command(facts)}` again"
    may_apt = facts.apt and facts.root
    if "python" in actions and not may_apt:
        way = (
            f"run: sudo apt-get install python{facts.python}-venv"
            if facts.apt
            else "install Python 3.11 or later with its venv and ensurepip modules"
        )
        found.append(f"Python {facts.python} here cannot make environments: {way}; {again}")
    if facts.verb == "cluster" and not facts.root:
        found.append(
            "Kubernetes in namespaces of its own needs root: run `sudo make cluster`, "
            "and `sudo make cluster-down` to stop it"
        )
    elif facts.verb == "cluster" and not can_have_cluster(facts):
        found.append(
            f"this is not Debian, and {', '.join(facts.cluster_packages)} are Debian's names for "
            f"what Kubernetes needs here: install them by this system's own means, {again}"
        )
    # While the images are not known they may all be here; if not, making them says the same.
    pulled = [name for name in facts.images or () if not name.startswith("crm-app:")]
    if pulled and facts.registry is False:
        if not facts.root:
            found.append(
                "no image registry answers, and building the images from Debian packages needs "
                "root: run `sudo .venv/bin/python -m stacks.images ensure "
                f"{' '.join(pulled)}`, or bring them with `docker load`; {again}"
            )
        elif not facts.debootstrap and not facts.apt:
            found.append(
                "no image registry answers, and building the images from Debian packages needs "
                f"debootstrap: install it with this system's package manager, {again}"
            )
    if steps and facts.free_bytes < DISK_GIB * GIB:
        found.append(
            f"{facts.free_bytes / GIB:.1f} GiB of disk are free and {DISK_GIB} GiB are needed: "
            f"free some (docker system prune removes what no container uses), {again}"
        )
    return found


def _docker_obstacles(facts: Facts) -> list[str]:
    again = f"then run `{command(facts)}` again"
    match facts.docker:
        case "forbidden":
            return [
                f"{facts.docker_detail} refuses this user: run `sudo usermod -aG docker $USER`, "
                f"log out and in, {again}"
            ]
        case "elsewhere":
            return [
                "the docker client reaches its daemon through a context, which other programs do "
                "not read: run `export DOCKER_HOST=$(docker context inspect --format "
                f"'{{{{.Endpoints.docker.Host}}}}')`, {again}"
            ]
        case "remote":
            return [
                f"DOCKER_HOST is {facts.docker_detail} and does not answer: start the daemon "
                f"there, or unset DOCKER_HOST to use this machine's, {again}"
            ]
        case "absent" if not facts.apt:
            return [
                "Docker is not installed and this is not Debian: install Docker by this system's "
                f"own means, start it, see that `docker info` answers, {again}"
            ]
        case "absent" if not facts.root:
            return [
                "Docker is not installed and installing it needs root: run `sudo apt-get install "
                f"docker.io && sudo usermod -aG docker $USER`, log out and in, {again}"
            ]
        case "stopped" if not facts.root:
            start = "sudo systemctl start docker" if facts.systemd else "sudo dockerd"
            return [f"Docker is installed but not running: run `{start}`, {again}"]
    return []


def command(facts: Facts) -> str:
    """What the person typed, as far as it can be told."""
    if facts.verb == "up" or facts.stack:
        return "make up" if facts.stack in {None, "dev"} else f"make up STACK={facts.stack}"
    rest = {"test": "make test", "dev": "make lint", "base": "make render"}
    return rest.get(facts.verb, f"make {facts.verb}")


def table(facts: Facts, steps: list[Step]) -> str:
    """The table people see before anything is touched."""
    rows = [row for step in steps for row in step.rows]
    lines = [
        ("what", "from", "root"),
        *((r.what, r.source, "yes" if r.root else "no") for r in rows),
    ]
    first, second = (max(len(line[column]) for line in lines) for column in (0, 1))
    text = [f"Missing for `{command(facts)}`:", ""]
    text += [f"  {a:<{first}}  {b:<{second}}  {c}" for a, b, c in lines]
    if facts.images is None and facts.registry is None and needs_images(facts.verb):
        text += ["", "  Images that no registry can give are built here from Debian packages."]
    if needs_images(facts.verb) and not facts.pulumi:
        text += ["", f"  {ENGINE_NOTE[0].upper()}{ENGINE_NOTE[1:]}."]
    return "\n".join(text)


ENGINE_NOTE = (
    "no Pulumi CLI on PATH, so the embedded engine deploys "
    "(to get the CLI: pulumi.com/docs/install)"
)


def ready_line(facts: Facts) -> str:
    """The one line when nothing is missing."""
    if not needs_docker(facts.verb):
        return "Ready: Python environment."
    if not needs_images(facts.verb):
        return f"Ready: Python environment, Docker {facts.docker_detail}, Kubernetes' programs."
    engine = "Pulumi CLI" if facts.pulumi else ENGINE_NOTE
    return f"Ready: Python environment, Docker {facts.docker_detail}, images; {engine}."
