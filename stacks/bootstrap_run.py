"""Shows what is missing, asks once, brings it: `bootstrap` on a Python that is new enough."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence

from stacks import paths
from stacks.bootstrap_facts import gather, is_for_docker
from stacks.bootstrap_install import carry_out
from stacks.bootstrap_plan import Verb, obstacles, plan, ready_line, table
from stacks.errors import CrmError
from stacks.stack_names import find

USAGE = "usage: python3 -m stacks.bootstrap up [STACK] | test | cluster | dev | base"


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


def run(words: Sequence[str]) -> int:
    """The command line; its exit code."""
    try:
        match words:
            case ["up", *named] if len(named) <= 1:
                stack = named[0] if named else "dev"
                # What nobody can deploy is refused before anything is installed for it.
                find(stack)
                done = bootstrap("up" if is_for_docker(stack) else "base", stack)
            case ["test" | "cluster" | "dev" | "base" as verb]:
                done = bootstrap(verb, None)
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0 if done else 1
