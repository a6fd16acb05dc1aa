"""The benchmark's own parts; what it measures is no test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest

from stacks import engines, stack_file
from tests.bench import charts, edge, engine, lab, load, render, routing, table
from tests.bench.measure import CannotRunError, Command, Cost, Pair, pair, run


def python(code: str, folder: Path) -> Command:
    return Command((sys.executable, "-c", code), folder, os.environ)


def test_run_counts_the_processor_time_of_children_too(tmp_path: Path) -> None:
    busy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    idle = run(python("import time; time.sleep(0.2)", tmp_path))
    assert idle.wall > 0.2
    assert run(python(busy, tmp_path)).cpu > idle.cpu


def test_pair_runs_both_in_turn_after_one_each_that_does_not_count(tmp_path: Path) -> None:
    one = python("open('log', 'a').write('1')", tmp_path)
    other = python("open('log', 'a').write('2')", tmp_path)
    pair(one, other, 3)
    assert (tmp_path / "log").read_text() == "12" * 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((sys.executable, "-c", "raise SystemExit('no luck')"), "exit code 1: no luck"),
        (("no-such-command",), "no-such-command: No such file"),
    ],
)
def test_command_that_does_not_run_is_said(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(CannotRunError, match=sentence):
        run(Command(words, tmp_path, os.environ))


def test_table_says_what_is_over_its_bound() -> None:
    measured = Pair(Cost(0.2, 0.3), Cost(0.1, 0.1), 2.0)
    rows = [
        table.Row("a", "b", measured, 2.0, "×", 1.9),
        table.Row("c", "d", measured, 24.0, "ms", 25.0),
        table.Row("e", "f", measured, 3.0, "ms"),
    ]
    lines = table.text(rows).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["OVER", "within", "–"]
    assert "200 ms" in lines[2]


def test_largest_stack_is_the_one_with_most_to_render() -> None:
    assert render.largest() == "kubernetes"


@pytest.mark.parametrize("stack", stack_file.names())
def test_chart_and_base_make_the_same_objects(stack: str, tmp_path: Path) -> None:
    charts.write_chart(tmp_path / "chart", stack)
    charts.write_base(tmp_path / "base", stack)
    workloads = json.loads((tmp_path / "chart" / "values.yaml").read_text())["workloads"]
    kustomization = json.loads((tmp_path / "base" / "kustomization.yaml").read_text())
    made = [
        json.loads((tmp_path / "base" / name).read_text()) for name in kustomization["resources"]
    ]
    kinds = ["Deployment", "Service", "ConfigMap"]
    assert [(o["kind"], o["metadata"]["name"]) for o in made] == [
        (kind, name) for name in workloads for kind in kinds
    ]
    assert all(f"kind: {kind}\n" in charts.TEMPLATE for kind in kinds)


def test_tools_that_are_absent_get_a_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert list(charts.rows("dev", 1)) == [
        "helm template: helm is not on PATH, so it is not compared.",
        "kustomize build: kustomize is not on PATH, so it is not compared.",
    ]


def test_nothing_deployed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "maker_of", lambda stack: None)
    (sentence,) = engine.rows(1)
    assert (
        sentence == "crm preview, crm up: no stack is deployed here; `make up`, then `make bench`."
    )


ANSWER = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody"


def test_length_of_an_answer_is_known_with_its_head() -> None:
    end = ANSWER.index(b"body")
    assert load.length(ANSWER) == load.length(ANSWER[:end]) == len(ANSWER)
    assert load.length(ANSWER[: end - 1]) is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (ANSWER.replace(b"200 OK", b"503 Gone"), "503 gone"),
        (ANSWER.replace(b"Content-Length", b"Content"), "without a Content-Length"),
        (b"SSH-2.0\r\n\r\n", "not 200"),
    ],
)
def test_answer_that_is_no_200_is_refused(answer: bytes, sentence: str) -> None:
    with pytest.raises(CannotRunError, match=sentence):
        load.length(answer)


def serve(listener: socket.socket, answers: list[bytes]) -> None:
    """Give one client ``answers``, one for each time that it sends something; then hang up."""
    client, _ = listener.accept()
    with client:
        for answer in answers:
            client.recv(65536)
            client.sendall(answer)
        # Whatever it asks now is read: a connection closed over unread bytes is one that is reset.
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([ANSWER] * 3, None),
        ([ANSWER] * 2, "closed"),
        ([ANSWER, ANSWER[:-1]], "closed"),
        ([ANSWER, ANSWER + b"more"], "more was answered"),
    ],
)
def test_load_asks_as_often_as_it_says_and_never_again(
    answers: list[bytes], sentence: str | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, answers))
        thread.start()
        asked = load.request("a", "/b")
        port = listener.getsockname()[1]
        if sentence is None:
            assert load.run("127.0.0.1", port, asked, 3, 1) > 0
        else:
            with pytest.raises(CannotRunError, match=sentence):
                load.run("127.0.0.1", port, asked, 3, 1)
        thread.join(10)


def test_slices_are_taken_in_turn_and_added_up() -> None:
    order = []

    def take(name: str, cpu: float) -> Cost:
        order.append(name)
        return Cost(cpu, 2 * cpu)

    sums = edge.in_turn([lambda: take("a", 1.0), lambda: take("b", 2.0)])
    assert "".join(order) == "abba" * (edge.SLICES // 2)
    assert sums == [
        Cost(edge.SLICES, 2.0 * edge.SLICES),
        Cost(2.0 * edge.SLICES, 4.0 * edge.SLICES),
    ]


def test_heads_of_answers_and_series_of_metrics_are_compared_without_what_changes() -> None:
    one = b"HTTP/1.1 200 OK\r\nX-Request-ID: a\r\nB: 1\r\nDate: x\r\n\r\nbody"
    two = b"HTTP/1.1 200 OK\r\nDate: y\r\nb: 1\r\nx-request-id: c\r\n\r\nbody"
    assert edge.head(one) == edge.head(two)
    assert edge.head(one) != edge.head(two.replace(b"b: 1", b"b: 2"))
    text = '# HELP a\na{b="c"} 1\nhaproxy_process_x 3\na{b="c d"} 2\n'
    assert edge.series(text) == ['a{b="c d"}', 'a{b="c"}']
    assert edge.unlike("x", ["a"], ["a"]) is None
    assert edge.unlike("logs", ["a", "b"], ["a"]) == (
        "logs of the rendered and the hand-written one differ: b"
    )


@pytest.mark.parametrize("proxy", edge.PROXIES)
def test_rendered_and_written_ones_have_the_file_the_proxy_reads(proxy: str) -> None:
    main = edge.planned(proxy).edge.files[0]
    for subject in (*edge.subjects(proxy), edge.written("backend")):
        name = "nginx.conf" if subject.name == "backend" else main
        assert subject.files[name]


def test_routing_is_measured_by_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "QUERIES", 1000)
    rows = list(routing.rows(1))
    assert {row.unit for row in rows} == {"µs per query"}
    assert [row.what.split(", ")[1] for row in rows] == list(routing.ROUTED)


def test_no_docker_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(CannotRunError, match="Docker does not answer"):
        list(edge.rows(1))


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        (
            "3:cpu:/docker/c1d2\n2:cpuacct:/docker/c1d2\n0::/docker/c1d2\n",
            "cpuacct/docker/c1d2/cpuacct.usage",
            "2500000000\n",
        ),
        (
            "4:cpu,cpuacct:/docker/c1d2\n",
            "cpuacct/docker/c1d2/cpuacct.usage",
            "2500000000\n",
        ),
        (
            "0::/system.slice/docker-c1d2.scope\n",
            "system.slice/docker-c1d2.scope/cpu.stat",
            "usage_usec 2500000\nuser_usec 1\n",
        ),
    ],
)
def test_control_groups_of_both_versions_are_read(
    groups: str, file: str, text: str, tmp_path: Path
) -> None:
    usage = tmp_path / "sys/fs/cgroup" / file
    usage.parent.mkdir(parents=True)
    usage.write_text(text)
    process = tmp_path / "proc/71/cgroup"
    process.parent.mkdir(parents=True)
    process.write_text(groups)
    assert lab.cgroup_cpu(71, "c1d2", tmp_path) == 2.5
    assert lab.cgroup_cpu(71, "another", tmp_path) is None
    assert lab.cgroup_cpu(72, "c1d2", tmp_path) is None
