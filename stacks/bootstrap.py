"""From a bare machine to one that can deploy or test: `python3 -m stacks.bootstrap up|test|dev`.

Runs under the system's Python with the standard library alone, before any environment exists.
Says what is missing, from where it would come and what needs root; asks once on a terminal (not
with YES=1); then installs it. Run again it goes on where it was, and says one line when all is
there.
"""

import sys

MINIMUM = (3, 11)
# Before any import of newer syntax, and itself in syntax old enough to be reached.
if sys.version_info[:2] < MINIMUM:
    sys.exit(
        f"error: Python 3.11 or later is needed and this is {sys.version.split()[0]}; "
        "install a newer one and name it: make up PYTHON=python3.12"
    )

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ in {None, ""}:
    # Started by its path: the package is found from the checkout's root, not from stacks/.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from stacks import paths
from stacks.bootstrap_facts import gather
from stacks.bootstrap_install import carry_out
from stacks.bootstrap_plan import Verb, obstacles, plan, ready_line, table
from stacks.errors import CrmError

USAGE = "usage: python3 -m stacks.bootstrap up [STACK] | test | dev"


def bootstrap(verb: Verb, stack: str | None) -> bool:
    """Bring what is missing; False when the person said no. CrmError when it cannot be had."""
    facts = gather(verb, stack)
    steps = plan(facts)
    if reasons := obstacles(facts, steps):
        if steps:
            print(table(facts, steps), end="\n\n", flush=True)
        raise CrmError("\nerror: ".join(reasons))
    if not steps:
        print(ready_line(facts), flush=True)
        return True
    print(table(facts, steps), end="\n\n", flush=True)
    if sys.stdin.isatty() and os.environ.get("YES") != "1":
        answer = input("Install all of this? [y/N] ")
        if answer.strip().lower() not in {"y", "yes"}:
            print("Nothing was changed.")
            return False
    with only_one():
        # Whoever held the lock may have done some of it.
        facts = gather(verb, stack)
        steps = plan(facts)
        carry_out(facts, steps)
    whats = ", ".join(row.what for step in steps for row in step.rows)
    print(f"Installed: {whats or 'nothing, another run did'}.\n", flush=True)
    return True


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """One installing run at a time in this checkout; others wait for it."""
    paths.LOCAL.mkdir(mode=0o700, exist_ok=True)
    file = os.open(paths.LOCAL / "bootstrap.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another run is installing in this checkout; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["up"] and len(words) <= 2:
            done = bootstrap("up", words[1] if len(words) == 2 else "dev")
        elif words == ["test"]:
            done = bootstrap("test", None)
        elif words == ["dev"]:
            done = bootstrap("dev", None)
        else:
            print(USAGE, file=sys.stderr)
            return 2
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
