"""What a request costs the proxy: as rendered, written by hand for the same, and the shortest.

The hand-written ones are in ``proxies/``. Each proxy is a container of its own before the same two
replicas, and its cost is what the kernel counts for that container. All log to ``json-file``, as
in a stack: ``none`` would spare writing the line to a pipe that is read, which a stack pays for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stacks import images, plan, render, stack_file, tiers
from stacks.errors import CrmError
from stacks.workload import FILES_PATH
from tests.bench import load
from tests.bench.lab import Lab, Running, lab
from tests.bench.measure import CannotRunError, Cost, of_runs
from tests.bench.table import Row

BOUND = 1.10
PROXIES = ("nginx", "haproxy")
REPLICAS = 2
CONNECTIONS = 8
SLICES, SLICE = 8, CONNECTIONS * 100
"""A run of a pair is this many slices of so many requests, taken in turn with the others': what
else this machine does changes faster than a run is over."""
REQUESTS = SLICES * SLICE
WRITTEN = Path(__file__).parent / "proxies"
ASKED = load.request("crm.example.com", "/api/v1/customers/17")


@dataclass(frozen=True)
class Subject:
    """One configuration that is measured: ``name`` is also its container's."""

    name: str
    files: Mapping[str, str]


def planned(proxy: str) -> plan.Plan:
    """A stack of ``REPLICAS`` replicas behind ``proxy``; all else as when nobody says anything."""
    asked = {"edge": {"proxy": proxy}, "app": {"replicas": REPLICAS}}
    return plan.make("bench", stack_file.parse(asked, "bench"))


def written(name: str) -> Subject:
    """The hand-written one in ``proxies/<name>``."""
    files = {path.name: path.read_text(encoding="utf-8") for path in (WRITTEN / name).iterdir()}
    return Subject(name, files)


def subjects(proxy: str) -> tuple[Subject, Subject, Subject]:
    """The rendered one, then those written by hand: equal features, and the shortest."""
    stack = planned(proxy)
    (workload,) = tiers.edge.workloads(stack, render.Renderer().tree(stack))
    rendered = Subject(f"{proxy}-rendered", workload.files)
    return rendered, written(f"{proxy}-equal"), written(f"{proxy}-shortest")


def head(answer: bytes) -> list[str]:
    """An answer's status and headers in an order of their own, without what is never the same."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    changing = re.compile(r"^(x-request-id|date): .*")
    return [lines[0], *sorted(changing.sub(r"\1", line) for line in lines[1:])]


def series(text: str) -> list[str]:
    """The names and labels of the metrics in ``text``, less what is said of one process."""
    passed_over = ("#", "haproxy_process_")
    lines = [line for line in text.splitlines() if line and not line.startswith(passed_over)]
    return sorted({line.rpartition(" ")[0] for line in lines})


def unlike(what: str, ours: Sequence[str], theirs: Sequence[str]) -> str | None:
    """A sentence where the two are not the same."""
    if ours == theirs:
        return None
    only = sorted(set(ours) ^ set(theirs))
    return f"{what} of the rendered and the hand-written one differ: {', '.join(only[:4])}"


def check_equal(ours: Running, theirs: Running, port: int, metrics_port: int) -> None:
    """Raise ``CannotRunError`` where the hand-written one does less or other than ours."""
    heads, logs, shown = [], [], []
    for one in (ours, theirs):
        for _ in range(REPLICAS):
            answer = one.wait(port, ASKED)
        heads.append(head(answer))
        shown.append(series(one.page(metrics_port, "/metrics")))
        logs.append(list(json.loads(one.last_line())))
    for what, (a, b) in (("answers", heads), ("log lines", logs), ("metrics", shown)):
        if difference := unlike(what, a, b):
            raise CannotRunError(difference)


def measure(one: Running, port: int, requests: int = SLICE) -> Cost:
    """What ``requests`` cost ``one``."""
    before = one.cpu()
    wall = load.run(one.address, port, ASKED, requests, CONNECTIONS)
    return Cost(one.cpu() - before, wall)


def in_turn(takers: Sequence[Callable[[], Cost]]) -> list[Cost]:
    """What one run costs each: ``SLICES`` calls, every other round backwards."""
    sums = [Cost(0.0, 0.0) for _ in takers]
    numbers = list(range(len(takers)))
    for _ in range(SLICES):
        for number in numbers:
            found = takers[number]()
            sums[number] = Cost(sums[number].cpu + found.cpu, sums[number].wall + found.wall)
        numbers.reverse()
    return sums


def spread(ratios: Sequence[float]) -> str:
    """The lowest and the highest of what the pairs gave."""
    return f"{min(ratios):.2f}–{max(ratios):.2f}"


def rows(times: int) -> Iterator[Row | str]:
    """Each proxy against the two written by hand. Raises ``CannotRunError``."""
    with lab() as here:
        for number in range(1, REPLICAS + 1):
            _start(here, f"app-{number}", "nginx", written("backend").files)
        for proxy in PROXIES:
            yield from _proxy_rows(here, proxy, times)


def _proxy_rows(here: Lab, proxy: str, times: int) -> Iterator[Row | str]:
    edge = planned(proxy).edge
    tried = subjects(proxy)
    running = [_start(here, subject.name, proxy, subject.files) for subject in tried]
    for one in running:
        one.wait(edge.port, ASKED)
    check_equal(running[0], running[1], edge.port, edge.metrics_port)
    takers = [partial(measure, one, edge.port) for one in running]
    in_turn(takers)
    turns = [in_turn(takers) for _ in range(times)]
    ours, equal, shortest = (list(costs) for costs in zip(*turns, strict=True))
    what = f"{proxy} as rendered, {REQUESTS} requests"
    for other, name, bound in ((equal, "equal features", BOUND), (shortest, "shortest", None)):
        found = of_runs(ours, other)
        yield Row(what, f"{proxy} by hand, {name}", found, found.ratio, "×", bound)
        pairs = spread([a.cpu / b.cpu for a, b in zip(ours, other, strict=True)])
        each = [cost.cpu / REQUESTS * 1e6 for cost in (found.one, found.other)]
        yield (
            f"{proxy}, {name}: {each[0]:.1f} µs of CPU a request as rendered, {each[1]:.1f} µs by "
            f"hand; the {times} pairs lie in {pairs}."
        )


def _start(here: Lab, name: str, proxy: str, files: Mapping[str, str]) -> Running:
    stack = planned(proxy)
    (workload,) = tiers.edge.workloads(stack, {f"{proxy}/{file}": "" for file in stack.edge.files})
    try:
        image = images.ensure(workload.image, lambda line: None)
    except CrmError as error:
        raise CannotRunError(str(error)) from None
    assert any(f"{FILES_PATH}/{file}" in workload.command for file in files)
    return here.start(name, image, workload.command, files)
