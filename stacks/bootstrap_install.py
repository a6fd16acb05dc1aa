"""Carries a bootstrap plan out. Every step may be killed and run again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stacks import paths
from stacks.bootstrap_facts import (
    ENVIRONMENT,
    STAMP,
    daemon_program,
    docker_state,
    environment_state,
    fingerprint,
    missing_images,
    read_stamp,
)
from stacks.bootstrap_plan import Action, Facts, Step, cluster_packages, extras
from stacks.errors import CrmError
from stacks.images_debian import last_error

LOG = paths.LOCAL / "bootstrap.log"
DAEMON_LOG = paths.LOCAL / "dockerd.log"
DAEMON_SECONDS = 90


def carry_out(facts: Facts, steps: Sequence[Step], say: Callable[..., None] = print) -> None:
    """Do every step, with a line when it starts and how long it took when it ends."""
    for number, step in enumerate(steps, 1):
        label = f"[{number}/{len(steps)}] {step.title}"
        started = time.monotonic()
        streams = step.action in {"images", "cluster"}
        say(f"{label} ...", end="\n" if streams else " ", flush=True)
        try:
            _ACTIONS[step.action](facts)
        except BaseException:
            if not streams:
                say("failed", flush=True)
            raise
        done = f"done in {time.monotonic() - started:.0f} s"
        say(f"{label}: {done}" if streams else done, flush=True)


def install_venv_module(facts: Facts) -> None:
    apt_install([f"python{facts.python}-venv"])


def install_environment(facts: Facts) -> None:
    """Make or complete ``.venv``; the stamp comes last, so half an environment is never ready."""
    state = environment_state(facts.verb)
    stamp = read_stamp() or {}
    STAMP.unlink(missing_ok=True)
    python = ENVIRONMENT / "bin" / "python"
    if state != "stale" or not stamp:
        clear = ["--clear"] if state == "broken" else []
        run([sys.executable, "-m", "venv", *clear, str(ENVIRONMENT)])
    # What an earlier run added stays: `make up` after `make test` takes nothing away.
    chosen = extras(facts.verb) or stamp.get("extras", "")
    target = f".[{chosen}]" if chosen else "."
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--retries", "2"]
    run(
        [*pip, "--disable-pip-version-check", "--editable", target],
        way_out="check the package index it uses (PIP_INDEX_URL, PIP_CERT, proxies)",
    )
    content = {"fingerprint": fingerprint(), "extras": chosen, "root": str(paths.ROOT)}
    scratch = STAMP.with_suffix(".tmp")
    scratch.write_text(json.dumps(content), encoding="utf-8")
    scratch.replace(STAMP)


def install_docker(facts: Facts) -> None:
    """Debian's daemon; its client and cgroup mounts where they are packages of their own."""
    optional = ["docker-cli"] if facts.systemd else ["docker-cli", "cgroupfs-mount"]
    apt_install(["docker.io", "ca-certificates", "iptables"], optional)


def install_debootstrap(facts: Facts) -> None:
    apt_install(["debootstrap", "debian-archive-keyring"])


def start_daemon(facts: Facts) -> None:
    """Start Docker and wait until it answers; no longer than DAEMON_SECONDS."""
    if facts.systemd:
        run(["systemctl", "start", "docker"], way_out="see: journalctl -u docker")
        wait_for_daemon(None)
        return
    # Installing the package may have started it already; a second one would only get in its way.
    if docker_state()[0] == "answers":
        return
    program = daemon_program()
    if program is None:
        raise CrmError("docker.io is installed but dockerd is not to be found; reinstall it")
    with DAEMON_LOG.open("ab") as log:
        # A session of its own: it outlives this run and no Ctrl-C at this terminal reaches it.
        process = subprocess.Popen(
            [program],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    wait_for_daemon(process)


def wait_for_daemon(process: "subprocess.Popen[bytes] | None") -> None:
    started = time.monotonic()
    deadline = started + DAEMON_SECONDS
    while docker_state()[0] != "answers":
        if process is not None and process.poll() is not None:
            # Another daemon may be about to answer, and be why this one gave up.
            deadline = min(deadline, time.monotonic() + 15)
            process = None
        if time.monotonic() > deadline:
            said = ""
            if DAEMON_LOG.exists():
                said = last_error(DAEMON_LOG.read_text(encoding="utf-8", errors="replace"))
            raise CrmError(
                f"Docker's daemon does not answer after {time.monotonic() - started:.0f} s"
                f"{': ' + said if said else ''}; its log is .crm/dockerd.log "
                "(containers without privileges cannot run Docker: use a machine or VM)"
            )
        time.sleep(0.2)


def make_images(facts: Facts) -> None:
    """Have the images in the new environment's own hands; it prints what it does."""
    references = missing_images(facts.stack)
    if not references:
        return
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "stacks.images", "ensure", *references]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, cwd=paths.ROOT
    )
    if done.returncode != 0:
        raise CrmError(done.stderr.decode(errors="replace").strip().removeprefix("error: "))


def install_cluster_packages(facts: Facts) -> None:
    """What Kubernetes' programs stand on; a service that came with it is not left running."""
    served = Path("/lib/systemd/system/etcd.service").exists()
    apt_install(cluster_packages(facts))
    if facts.systemd and not served:
        run(["systemctl", "disable", "--now", "etcd"], required=False)


def install_go(facts: Facts) -> None:
    python = ENVIRONMENT / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--retries", "2"]
    run(
        [*pip, "--disable-pip-version-check", facts.cluster_go],
        way_out=f"install Go yourself, as new as {facts.cluster_go}, and have it on PATH",
    )


def build_cluster(facts: Facts) -> None:
    """Have Kubernetes built in the new environment's own hands; it says how far it is."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "tests.cluster.build"]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, cwd=paths.ROOT
    )
    if done.returncode != 0:
        raise CrmError(done.stderr.decode(errors="replace").strip().removeprefix("error: "))


def apt_install(packages: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Install Debian packages without questions; ``optional`` ones only where they exist."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a"}
    limits = ["-o", "Acquire::http::Timeout=30", "-o", "DPkg::Lock::Timeout=300"]
    # A run killed in the middle leaves packages unconfigured, and apt refuses until they are.
    run(["dpkg", "--configure", "-a"], environment=environment)
    # One broken third-party source must not keep Debian's own packages away.
    run(["apt-get", *limits, "update"], environment=environment, required=False)
    # A name may be known to apt only because others mention it: trying says what can be had.
    trial = ["apt-get", "--simulate", "install"]
    known = [name for name in optional if run([*trial, name], required=False)]
    install = ["apt-get", *limits, "install", "--yes", "--no-install-recommends"]
    run(
        [*install, *packages, *known],
        environment=environment,
        way_out="check /etc/apt/sources.list and the network",
    )


def run(
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    required: bool = True,
    way_out: str = "",
) -> bool:
    """Run a program with its output in ``.crm/bootstrap.log``; False or CrmError when it fails."""
    with LOG.open("a+b") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        start = log.tell()
        try:
            code = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=paths.ROOT,
                check=False,
            ).returncode
        except FileNotFoundError:
            code = 127
        log.seek(start)
        said = last_error(log.read().decode(errors="replace"))
    if code != 0 and required:
        raise CrmError(
            f"`{_brief(command)}` failed: {said or f'exit code {code}'}; the whole output is in "
            f".crm/bootstrap.log{'; ' + way_out if way_out else ''}; then run the same again"
        )
    return code == 0


def _brief(command: Sequence[str]) -> str:
    """The command as people know it: no absolute path, no option that only tunes it."""
    words = [Path(command[0]).name]
    skip = False
    for word in command[1:]:
        if skip or word in {"-o", "--retries"}:
            skip = not skip
        elif not word.startswith("--"):
            words.append(word)
    return " ".join(words)


_ACTIONS: dict[Action, Callable[[Facts], None]] = {
    "python": install_venv_module,
    "environment": install_environment,
    "docker": install_docker,
    "daemon": start_daemon,
    "debootstrap": install_debootstrap,
    "images": make_images,
    "cluster-packages": install_cluster_packages,
    "go": install_go,
    "cluster": build_cluster,
}
