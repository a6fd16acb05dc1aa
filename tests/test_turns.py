"""Workers of one run take turns: who measures runs alone, and does not wait for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests import turns
from tests.live.shared import ORDER, needed_by

SOON, NOT_YET = 10, 0.3


class Taker:
    """Takes a turn in a thread of its own, and keeps it until told."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self.running, self._end = threading.Event(), threading.Event()

        def take() -> None:
            with turns.turn(folder, alone=alone):
                self.running.set()
                assert self._end.wait(SOON)

        self._thread = threading.Thread(target=take)
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join(SOON)
        assert not self._thread.is_alive()


def test_others_go_on_beside_each_other(tmp_path: Path) -> None:
    takers = [Taker(tmp_path, alone=False) for _ in range(3)]
    assert all(taker.running.wait(SOON) for taker in takers)
    for taker in takers:
        taker.end()


@pytest.mark.parametrize("alone", [(True, False), (False, True), (True, True)])
def test_one_that_is_alone_runs_beside_none(alone: tuple[bool, bool], tmp_path: Path) -> None:
    first = Taker(tmp_path, alone=alone[0])
    assert first.running.wait(SOON)
    second = Taker(tmp_path, alone=alone[1])
    assert not second.running.wait(NOT_YET)
    first.end()
    assert second.running.wait(SOON)
    second.end()


def test_one_that_waits_to_be_alone_is_not_passed_by(tmp_path: Path) -> None:
    first = Taker(tmp_path, alone=False)
    assert first.running.wait(SOON)
    waits = Taker(tmp_path, alone=True)
    assert not waits.running.wait(NOT_YET)
    later = Taker(tmp_path, alone=False)
    assert not later.running.wait(NOT_YET)
    first.end()
    assert waits.running.wait(SOON)
    assert not later.running.wait(NOT_YET)
    waits.end()
    assert later.running.wait(SOON)
    later.end()


def test_what_shares_a_stack_or_a_file_stays_together(request: pytest.FixtureRequest) -> None:
    items = request.session.items
    by_stack: dict[str, set[str]] = {}
    for item in items:
        by_stack.setdefault(needed_by(item), set()).add(turns.group(item))
    by_stack.pop("")
    assert all(len(groups) == 1 for groups in by_stack.values())
    # One worker has the cluster, and the stack on it.
    assert by_stack.get("cluster", set()) | by_stack.get("kubernetes", set()) <= {"cluster"}
    assert turns.group(request.node) == "tests/test_turns.py"
    if hasattr(request.config, "workerinput"):
        # What pytest-xdist goes by; a pytest it does not fit would leave it out, without a word.
        assert request.node.nodeid.endswith("@tests/test_turns.py")
    needs = [needed_by(item) for item in turns.in_order(items, workers=True)]
    assert needs == sorted(needs, key=ORDER.index, reverse=True)
