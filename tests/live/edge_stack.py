"""A ``dev`` stack with three replicas, behind either proxy, for the tests of the edge."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from stacks.targets.docker_host import files_archive
from stacks.workload import FILES_PATH
from tests.live import reloads
from tests.live.client import call
from tests.live.stack import Stack, deployed
from tests.live.waiting import wait_until

CHEAP = "/static/crm.css"
"""Answered by a replica, and by nothing behind it."""

SLOW_SECONDS = 5
SLOW = f"""

@blueprint.get("/slow")
def slow() -> Response:
    import time

    time.sleep({SLOW_SECONDS})
    return answer({{"slept": {SLOW_SECONDS}}})
"""
"""What the app of these tests has besides: requests that take their time."""


class Edge:
    """The stack and what tests do to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.proxy = "nginx"
        self.balance = "    algorithm: round_robin\n"

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def configuration(self) -> str:
        """The file the proxy is configured by."""
        return "nginx.conf" if self.proxy == "nginx" else "haproxy.cfg"

    def behind(self, proxy: str) -> None:
        """Have ``proxy`` in front, all else as it was."""
        if proxy != self.proxy:
            self.stack.edit(f"proxy: {self.proxy}", f"proxy: {proxy}")
            self.proxy = proxy
            reloads.up(self.stack)

    def policy(self, *lines: str) -> dict[str, int]:
        """Say these lines under ``crm:edge`` in the place of the algorithm, and deploy that."""
        text = "".join(f"    {line}\n" for line in lines)
        if text == self.balance:
            return {}
        self.stack.edit(self.balance, text)
        self.balance = text
        return reloads.up(self.stack)

    def replicas(self, number: int) -> dict[str, int]:
        """As many replicas of the app, deployed."""
        text = (self.stack.project.root / self.stack.file).read_text(encoding="utf-8")
        [old] = re.findall(r"replicas: \d+", text)
        self.stack.edit(old, f"replicas: {number}")
        return reloads.up(self.stack)

    def change_app(self) -> None:
        """Another version of the app, to be deployed."""
        path = self.stack.project.root / "app/crm/__init__.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}# {time.time_ns()}\n", encoding="utf-8")

    def reload(self) -> None:
        """Tell the proxy to read its configuration again, as ``crm up`` does."""
        self.stack.container("edge").kill("SIGHUP" if self.proxy == "nginx" else "SIGUSR2")

    def write_deployed(self, name: str, text: str) -> None:
        """Put ``text`` in the place of a file that the proxy reads, past ``crm``."""
        client = docker.from_env()
        image = self.stack.container("edge").attrs["Config"]["Image"]
        volume = {f"crm-{self.stack.name}-edge-files": {"bind": FILES_PATH, "mode": "rw"}}
        writer = client.containers.create(image, ["true"], volumes=volume)
        try:
            writer.put_archive(FILES_PATH, files_archive({name: text}, {}, 10004))
        finally:
            writer.remove()

    def give_cpus(self, instance: str, cpus: float) -> None:
        """Another share of the machine, past ``crm``. The SDK knows no such update."""
        container = str(self.stack.container(instance).id)
        command = ["docker", "update", f"--cpus={cpus}", container]
        subprocess.run(command, check=True, capture_output=True)

    def kill(self, instance: str) -> None:
        """``kill -9`` as the kernel would: Docker starts again what died by itself."""
        os.kill(int(self.stack.container(instance).attrs["State"]["Pid"]), signal.SIGKILL)

    @contextmanager
    def stopped(self, instance: str) -> Iterator[None]:
        """Stop every process of a replica: it takes connections and never answers.

        Not those of Docker's health check, which Docker begins, and kills, beside the replica.
        """
        container = self.stack.container(instance)
        listed = [(int(pid), int(parent)) for _, pid, parent, *_ in container.top()["Processes"]]
        own = [int(container.attrs["State"]["Pid"])]
        for one in own:
            own.extend(pid for pid, parent in listed if parent == one)
        assert len(own) > 1, f"{instance} has no worker to be stopped"
        for process in own:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(own):  # The first one replaces those that seem to have died.
                os.kill(process, signal.SIGCONT)

    def metrics(self) -> dict[str, float]:
        """What Prometheus would be told: sample with its labels → value."""
        script = (
            "exec 3<>/dev/tcp/127.0.0.1/9113 && "
            "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
        )
        text = self.stack.execute("edge", "bash", "-c", script)
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        assert " 200 " in head.splitlines()[0]
        samples = [line.rpartition(" ") for line in body.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in samples if name}

    def settled_metrics(self) -> dict[str, float]:
        """The same once what was asked before is counted: a proxy counts after it has answered."""

        def answered() -> dict[str, float]:
            counters = (
                "edge_requests_total{",
                'haproxy_backend_http_responses_total{proxy="app"',
            )
            return {n: v for n, v in self.metrics().items() if n.startswith(counters)}

        def stand_still() -> bool:
            before = answered()
            time.sleep(0.3)
            return answered() == before

        wait_until(stand_still, "the counters stand still")
        return self.metrics()

    def wait_for(self, replicas: int) -> None:
        """Until that many answer, and no other."""
        wanted = {f"app-{number}" for number in range(1, replicas + 1)}
        wait_until(
            lambda: {self.server() for _ in range(4 * replicas)} == wanted, f"{replicas} answer"
        )

    def server(self) -> str:
        """The replica that answers a request."""
        return call(f"{self.url}{CHEAP}").headers.get("x-served-by", "")


@contextmanager
def edge(folder: Path) -> Iterator[Edge]:
    """Deployed with three replicas behind nginx; destroyed with its data afterwards."""

    def prepare(stack: Stack) -> None:
        stack.edit("replicas: 1", "replicas: 3")
        health = stack.project.root / "app/crm/health.py"
        health.write_text(health.read_text(encoding="utf-8") + SLOW, encoding="utf-8")

    with deployed(folder, "dev", change=prepare) as stack:
        yield Edge(stack)
