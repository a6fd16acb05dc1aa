"""Looks at the machine: every probe is bounded in time, none changes anything."""

import hashlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

from stacks import paths
from stacks.bootstrap_plan import Facts, Verb, extras, needs_cluster, needs_docker, needs_images
from stacks.errors import CrmError
from stacks.images_build import registry_of

ENVIRONMENT = paths.ROOT / ".venv"
STAMP = ENVIRONMENT / "crm-environment.json"
SOCKET = "/var/run/docker.sock"
REGISTRY = "https://registry-1.docker.io/v2/"
PROBE_SECONDS = 5

DockerState = Literal["answers", "stopped", "absent", "forbidden", "elsewhere", "remote"]


def gather(verb: Verb, stack: str | None) -> Facts:
    """Everything ``plan`` has to know. Raises CrmError when the stack asked for does not exist."""
    environment = environment_state(verb)
    docker: DockerState = "answers"
    detail = ""
    if needs_docker(verb):
        docker, detail = docker_state()
    images: tuple[str, ...] | None = ()
    if needs_images(verb):
        known = environment == "ready" and docker == "answers"
        images = missing_images(stack) if known else None
    missing = images is None or any(not name.startswith("crm-app:") for name in images)
    cluster = cluster_needs() if needs_cluster(verb) else {}
    return Facts(
        verb=verb,
        stack=stack,
        apt=shutil.which("apt-get") is not None,
        root=os.geteuid() == 0,
        systemd=Path("/run/systemd/system").is_dir(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        venv_module=all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
        environment=environment,
        docker=docker,
        docker_detail=detail,
        images=images,
        registry=registry_answers() if missing and needs_images(verb) else None,
        debootstrap=shutil.which("debootstrap") is not None,
        free_bytes=min(free_bytes(paths.ROOT), free_bytes(Path("/var/lib/docker"))),
        pulumi=shutil.which("pulumi") is not None,
        cluster_packages=tuple(cluster.get("packages", ())),
        cluster_go=cluster.get("go", ""),
        cluster_built=cluster.get("built", True),
    )


def is_for_docker(stack: str) -> bool:
    """Whether the stack needs Docker here: all do but those that say ``target: kubernetes``."""
    try:
        text = (paths.ROOT / paths.stack_file_name(stack)).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    # Nothing here reads YAML yet, and no environment may be there that can.
    return (
        re.search(r"^\s*[\"']?crm:target[\"']?:\s*[\"']?kubernetes\b", text, re.MULTILINE) is None
    )


def fingerprint() -> str:
    """Changes when the environment has to be installed again."""
    return hashlib.sha256((paths.ROOT / "pyproject.toml").read_bytes()).hexdigest()


def environment_state(verb: Verb) -> Literal["ready", "absent", "stale", "broken"]:
    """Whether ``.venv`` holds what this pyproject.toml asks for; its stamp is written last."""
    if not ENVIRONMENT.exists():
        return "absent"
    # A moved checkout breaks the scripts' first lines, an upgraded Python the links to it.
    if not (ENVIRONMENT / "bin" / "python").exists():
        return "broken"
    stamp = read_stamp()
    if stamp is None:
        return "stale"
    if stamp.get("root") != str(paths.ROOT):
        return "broken"
    enough = extras(verb) in {"", stamp.get("extras")}
    return "ready" if enough and stamp.get("fingerprint") == fingerprint() else "stale"


def read_stamp() -> dict[str, str] | None:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def docker_state() -> tuple[DockerState, str]:
    """Whether a daemon answers where programs look for it, and its version or the place."""
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        version = _output(["docker", "version", "--format", "{{.Server.Version}}"])
        return ("answers", version) if version else ("remote", host)
    path = host.removeprefix("unix://") or SOCKET
    try:
        return "answers", str(ask_docker("/version", path)["Version"])
    except PermissionError:
        return "forbidden", path
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        if host:
            return "remote", host
    # A client may be here without a daemon, and may reach one elsewhere.
    if _output(["docker", "info", "--format", "{{.ServerVersion}}"]):
        return "elsewhere", path
    return ("stopped" if daemon_program() else "absent"), path


def daemon_program() -> str | None:
    """Where dockerd is; /usr/sbin need not be on an ordinary user's PATH."""
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def ask_docker(question: str, path: str = SOCKET, seconds: float = PROBE_SECONDS) -> Any:
    """GET from the daemon's socket; no client and no package is needed for it."""
    connection = http.client.HTTPConnection("docker", timeout=seconds)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(seconds)
        connection.sock.connect(path)
        connection.request("GET", question)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def missing_images(stack: str | None) -> tuple[str, ...]:
    """Images the stack (or every stack) uses that nothing on this machine stands for.

    Asked of ``crm images`` in the ready environment; CrmError with its words when the stack is
    wrong, so that a mistyped name is refused before anything is installed for it.
    """
    command = [str(ENVIRONMENT / "bin" / "crm"), "images", *([stack] if stack else []), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths.ROOT)
    if done.returncode != 0:
        raise CrmError(done.stderr.strip().removeprefix("error: ") or f"{command} failed")
    uses = json.loads(done.stdout)["images"]
    missing = [str(use["reference"]) for use in uses if use["state"] == "missing"]
    # A cluster pulls what is in a registry of its own; nothing here runs on it.
    return tuple(name for name in missing if stack or registry_of(name) == "docker.io")


def cluster_needs() -> dict[str, Any]:
    """What the Kubernetes for tests lacks; asked of the tests, of which the platform knows none."""
    command = [sys.executable, "-m", "tests.cluster.needs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths.ROOT)
    if done.returncode != 0:
        raise CrmError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return dict(json.loads(done.stdout))


def registry_answers() -> bool:
    """Whether Docker Hub can be reached from here, through the proxies the environment names."""
    try:
        with urllib.request.urlopen(REGISTRY, timeout=PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it wants a token, so it is there
    except OSError:
        return False


def free_bytes(path: Path) -> int:
    """Free disk where ``path`` is, or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _output(command: list[str]) -> str:
    """What a program prints, "" when it is missing, fails or takes longer than a probe may."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=3 * PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
