"""Brings a checkout's cluster up, talks to it, takes it down.

The node's processes are in network, mount, PID, IPC, UTS and cgroup namespaces of their own. What
the machine sees of it: one network interface, one cgroup for each hierarchy, the folder
``.crm/cluster``, and the processes, all of which end with the first of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType

from stacks import paths
from stacks.errors import CrmError
from tests.cluster import certificates, machine, needs, node, place, probe, programs, recipe

START_SECONDS = 180
IMPORT_SECONDS = 600

READY = (
    ("wait", "--for=condition=Ready", f"node/{place.NODE}"),
    ("--namespace=kube-system", "rollout", "status", "deployment/coredns"),
    ("--namespace=kube-system", "rollout", "status", "deployment/metrics-server"),
    ("wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io"),
)
"""kubectl's words for all that has to be so before the cluster is of use."""

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


class Cluster:
    """The cluster of one checkout; as a context manager it is there within and gone after.

    ``start`` is quick where it runs already. Methods raise CrmError with the way out.
    """

    def __init__(self, root: Path = paths.ROOT, say: Say = silent) -> None:
        self.place = place.Place(root)
        self.say = say
        self._parent: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.place.kubeconfig

    @property
    def address(self) -> str:
        """The node's address: the API server, NodePorts and LoadBalancers answer there."""
        return str(self._record()["address"])

    @property
    def outside(self) -> str:
        """This machine's address at its end of the link: what pods can reach beyond the cluster."""
        return machine.other_end(self.address)

    @property
    def kubectl_program(self) -> Path:
        return self.place.folder / "bin" / "kubectl"

    def kubectl(self, *words: str, text: str | None = None, seconds: float = 60) -> str:
        """What kubectl prints, as administrator; ``text`` is its input. CrmError when it fails."""
        command = [str(self.kubectl_program), f"--kubeconfig={self.kubeconfig}", *words]
        try:
            done = subprocess.run(
                command,
                input=text or "",
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CrmError(f"`kubectl {' '.join(words)}` took over {seconds:.0f} s") from None
        if done.returncode != 0:
            raise CrmError(f"`kubectl {' '.join(words)}` failed: {done.stderr.strip()}")
        return done.stdout

    @cached_property
    def enforces_network_policies(self) -> bool:
        """Whether a policy really keeps a connection out: tried, and not just looked up."""
        return probe.policies_are_enforced(self.kubectl, self.address)

    def is_running(self) -> bool:
        """Whether the node's first process lives; programs may have ended (see ``status``)."""
        try:
            record = self._record()
        except CrmError:
            return False
        pid = int(str(record.get("pid", 0)))
        return pid > 0 and pid in machine.members(self.place)

    def _is_whole(self) -> bool:
        """Whether it runs, of this version, to the end of its start, and with every program."""
        if not self.is_running() or (self.place.folder / "ended.jsonl").exists():
            return False
        return self._record().get("ready") == recipe.build_key()

    def status(self) -> list[str]:
        """Lines for people: whether it runs, where, and which programs have ended."""
        if not self.is_running():
            return ["stopped"]
        lines = [f"running at {self.address}", f"kubeconfig {self.kubeconfig}"]
        ended = self.place.folder / "ended.jsonl"
        if ended.exists():
            for line in ended.read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                log = self.place.logs / f"{said['program']}.log"
                lines.append(f"{said['program']} ended with {said['code']}; its log is {log}")
        return lines

    # --- Start and stop --------------------------------------------------------------------------

    def start(self) -> None:
        """Bring it up, unless it runs; CrmError when that fails, and then nothing is left of it."""
        with self._lock():
            if self._is_whole():
                self.say("Kubernetes runs already")
                return
            self._check_machine()
            self._clean()
            self.say("starting Kubernetes, which takes about half a minute")
            try:
                self._start()
            except BaseException:
                self._clean()
                raise

    def stop(self) -> None:
        """End it and remove all of it but the logs; also what a crash left. Quick when stopped."""
        with self._lock():
            self._clean()
        self.__dict__.pop("enforces_network_policies", None)

    def _check_machine(self) -> None:
        if os.geteuid() != 0:
            raise CrmError("the cluster for tests needs root, for namespaces of its own")
        if missing := needs.debian_packages():
            raise CrmError(f"Debian packages {', '.join(missing)} are missing: run `make cluster`")
        if not recipe.is_built():
            raise CrmError("the cluster's programs are not built yet: run `make cluster`")

    def _start(self) -> None:
        built = recipe.programs_folder()
        gateway, address = machine.free_link_range(self.place)
        self._write_folder(built, address)
        self._record_write(address=address)
        machine.make_cgroups(self.place)
        self._parent = parent = self._launch(built, address, gateway)
        first = self._first_process(parent)
        machine.leave_cgroup(self.place, parent.pid)
        self._record_write(address=address, pid=first)
        machine.make_link(self.place, gateway, first)
        self._await("containerd", parent, lambda: bool(self._containerd("version")))
        for archive in sorted((built / "images").iterdir()):
            with archive.open("rb") as content:
                self._import(iter(lambda: content.read(1 << 20), b""), archive.stem)
        self._await("the API server", parent, lambda: bool(self.kubectl("get", "--raw=/readyz")))
        self._await("the first objects", parent, self._apply)
        for words in READY:
            self._await(f"`kubectl {' '.join(words)}`", parent, partial(self._is_so, words))
        # One that was killed before here, or is of another version, is started anew.
        self._record_write(**self._record(), ready=recipe.build_key())

    def _write_folder(self, built: Path, address: str) -> None:
        folder = self.place.folder
        for name in (*node.FOLDERS, "bin", "logs"):
            (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        for log in self.place.logs.iterdir():
            log.unlink()
        self.kubectl_program.symlink_to(built / "bin" / "kubectl")
        certificates.write_all(folder / "pki", address, self.kubeconfig)
        programs.write_settings(folder / "settings")

    def _launch(self, built: Path, address: str, gateway: str) -> subprocess.Popen[bytes]:
        """Start the node's first process in its cgroups and namespaces; its parent, ``unshare``."""
        join = "".join(
            f"echo $$ >{cgroup}/cgroup.procs && " for cgroup in machine.cgroups(self.place)
        )
        spaces = ("--net", "--mount", "--pid", "--ipc", "--uts", "--cgroup")
        with (self.place.logs / "node.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *("sh", "-c", f'{join}exec "$@"', "sh"),
                    *("unshare", *spaces, "--fork", "--kill-child", "--mount-proc"),
                    *(sys.executable, "-B", "-m", "tests.cluster.node"),
                    *(str(self.place.folder), str(built), address, gateway),
                ],
                cwd=paths.ROOT,
                env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _first_process(self, parent: subprocess.Popen[bytes]) -> int:
        deadline = time.monotonic() + 10
        while (first := machine.first_process(parent.pid)) is None:
            if parent.poll() is not None or time.monotonic() > deadline:
                raise CrmError(f"the node did not start: {self._said('node')}")
            time.sleep(0.02)
        return first

    def _await(self, what: str, parent: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
        """Ask until it is so; CrmError when the node ends or takes longer than START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        last = ""
        while True:
            try:
                if holds():
                    return
            except CrmError as error:
                last = str(error)
            if parent.poll() is not None:
                raise CrmError(f"the node ended while {what} was waited for: {self._said('node')}")
            if time.monotonic() > deadline:
                raise CrmError(
                    f"{what}: not there after {START_SECONDS} s; {last}; logs: {self.place.logs}"
                )
            time.sleep(0.3)

    def _apply(self) -> bool:
        manifests = recipe.SOURCES / "manifests"
        self.kubectl("apply", "--server-side", f"--filename={manifests}")
        return True

    def _is_so(self, words: tuple[str, ...]) -> bool:
        self.kubectl(*words, "--timeout=10s")
        return True

    def _said(self, program: str) -> str:
        log = self.place.logs / f"{program}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "it said nothing"

    def _clean(self) -> None:
        """End and remove everything of this checkout's cluster, recorded or not, but the logs."""
        with suppress(CrmError, ProcessLookupError):
            pid = int(str(self._record().get("pid", 0)))
            # By its id only while it is ours: after a reboot another may have the number.
            if pid in machine.members(self.place):
                os.kill(pid, signal.SIGKILL)
        machine.kill_members(self.place)
        if self._parent is not None:
            self._parent.wait(machine.GONE_SECONDS)
            self._parent = None
        machine.remove_link(self.place)
        machine.remove_cgroups(self.place)
        if self.place.folder.exists():
            self._refuse_mounts()
            for path in self.place.folder.iterdir():
                if path.is_dir() and not path.is_symlink() and path != self.place.logs:
                    shutil.rmtree(path)
                elif path not in (self.place.logs, self.place.record):
                    path.unlink()
            # Last, so that a run that is killed here is taken up again.
            self.place.record.unlink(missing_ok=True)

    def _refuse_mounts(self) -> None:
        """Nothing is deleted through a mount; there is none once the namespaces are gone."""
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        inside = [line.split()[1] for line in mounts if str(self.place.folder) in line.split()[1]]
        if inside:
            raise CrmError(
                f"{inside[0]} is mounted on this machine and not by the cluster: umount it"
            )

    # --- Images ----------------------------------------------------------------------------------

    def load_images(self, references: Iterable[str]) -> None:
        """Bring images from this machine's Docker; those that are there already are skipped."""
        from docker.errors import APIError, ImageNotFound

        from stacks.images_build import docker_client

        loaded = self._loaded()
        with docker_client() as client:
            for reference in references:
                try:
                    image = client.images.get(reference)
                    if loaded.get(reference) == image.id:
                        continue
                    self._import(image.save(chunk_size=1 << 20, named=reference), reference)
                except ImageNotFound:
                    raise CrmError(
                        f"image {reference}: not on this machine; see `crm images`"
                    ) from None
                except APIError as error:
                    raise CrmError(f"image {reference}: Docker refuses it: {error}") from error
                loaded[reference] = str(image.id)
                file = self.place.folder / "images.json"
                file.write_text(json.dumps(loaded), encoding="utf-8")

    def _loaded(self) -> dict[str, str]:
        """Reference → the image's id, of those brought since the start."""
        file = self.place.folder / "images.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    def _import(self, chunks: Iterator[bytes], name: str) -> None:
        """Give containerd an image as ``docker save`` writes it."""
        process = subprocess.Popen(
            self._inside("ctr", "--namespace=k8s.io", "images", "import", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            for chunk in chunks:
                process.stdin.write(chunk)
        _, said = process.communicate(timeout=IMPORT_SECONDS)
        if process.returncode != 0:
            raise CrmError(f"image {name} cannot be imported: {said.decode().strip()}")

    def _containerd(self, *words: str) -> str:
        done = subprocess.run(
            self._inside("ctr", *words), capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def _inside(self, program: str, *words: str) -> list[str]:
        """``program``, talking to the cluster's containerd in the node's mount namespace."""
        pid = str(self._record()["pid"])
        socket = f"--address={programs.CONTAINERD_SOCKET}"
        return ["nsenter", f"--target={pid}", "--mount", "--net", program, socket, *words]

    # --- The record ------------------------------------------------------------------------------

    def _record(self) -> dict[str, object]:
        try:
            return dict(json.loads(self.place.record.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise CrmError("the cluster does not run: start it with `make cluster`") from None

    def _record_write(self, **content: object) -> None:
        scratch = self.place.record.with_suffix(".tmp")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(self.place.record)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One start or stop at a time in this checkout; others wait."""
        self.place.lock.parent.mkdir(mode=0o700, exist_ok=True)
        with self.place.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
