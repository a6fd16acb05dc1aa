"""``crm partitions``: what the partitions of a stack's shards need, said or done where they are."""

from __future__ import annotations

from stacks import plan, render, stack_file
from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.targets import choice, inside
from stacks.workload import FILES_PATH


def run(action: str, stack: str, yes: bool) -> int:
    """Run ``plan`` or ``apply`` beside the keeper, which reaches the databases; returns its exit
    code.

    Raises ``CrmError`` where the stack has no keeper, or one that was told something else.
    """
    planned = plan.make(stack, stack_file.load(stack))
    told = render.Renderer().tree(planned).get("app/partitions.json")
    if told is None:
        raise CrmError(
            f"{stack_file_name(stack)}: crm:database.orders: keeps no partitions; write "
            "`partition_by: range` and how many are kept, such as ahead: 3"
        )
    command = ["python3", "-m", "crm", "partitions", action, *(["--yes"] if yes else [])]
    keeper = choice.inside(planned, "partitions")
    if inside.read(keeper, f"{FILES_PATH}/app.json") != told:
        raise CrmError(
            f"{stack_file_name(stack)}: has changed since the last `up`; run `crm up {stack}` first"
        )
    return inside.show(keeper, command)
