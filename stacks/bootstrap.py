"""From a bare machine to one that can deploy or test: `python3 -m stacks.bootstrap VERB`.

Verbs: `up [STACK]` (environment and, unless the stack is for a cluster, Docker and its images),
`test` (all of it, for every stack, and Kubernetes), `cluster` (environment, Docker, Kubernetes),
`dev` (the environment with the developers' tools), `base` (the environment alone).
Runs under the system's Python with the standard library alone, before any environment exists.
Says what is missing, from where it would come and what needs root; asks once on a terminal (not
with YES=1); then installs it. Run again it goes on where it was, and says one line when all is
there.
"""

import sys
from pathlib import Path

MINIMUM = (3, 11)


def main() -> int:
    # This file keeps to syntax old enough for an old Python to get here and be told.
    if sys.version_info[:2] < MINIMUM:
        print(
            f"error: Python 3.11 or later is needed and this is {sys.version.split()[0]}; "
            "install a newer one and name it: make up PYTHON=python3.12",
            file=sys.stderr,
        )
        return 1
    if not __package__:
        # Started by its path: the package is found from the checkout's root, not from stacks/.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from stacks.bootstrap_run import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
