"""``crm shards plan``: what another shard map would move; and the refusal of one over rows."""

from __future__ import annotations

import json

from stacks import engines, plan, shard_map, stack_file
from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.plan import Plan
from stacks.services import numbered
from stacks.shard_map import BUCKETS, Map


def run(stack: str, shards: int | None, as_json: bool) -> int:
    """Print what lies between the map that is deployed, else the stack file's, and the one that
    the stack file asks for, or so many ``shards`` would give. Touches and asks nothing."""
    planned = plan.make(stack, stack_file.load(stack))
    if planned.database.external:
        raise CrmError(
            f"{stack_file_name(stack)}: crm:database.external: it is one server; "
            "only a stack's own servers are shards"
        )
    there = engines.shard_map_of(stack)
    if shards is None and there is None:
        raise CrmError(
            f"{stack} is not deployed, so there is nothing to compare its stack file with; "
            f"write: crm shards plan {stack} --shards N"
        )
    if shards is not None and not 1 <= shards <= BUCKETS:
        raise CrmError(f"--shards: {shards} is not allowed; write a number from 1 to {BUCKETS}")
    before = there or planned.database.map
    after = planned.database.map if shards is None else shard_map.of(numbered("database", shards))
    print(_json(before, after) if as_json else _text(stack, before, after, there is not None))
    return 0


def refuse_another_map(planned: Plan) -> None:
    """Raise ``CrmError`` where the stack's rows lie by another map than the planned one.

    Whether there are any rows only the servers know, which may be down: they are taken to be there.
    """
    stack, wanted = planned.stack, planned.database.map
    there = None if planned.database.external else engines.shard_map_of(stack)
    if there in (None, wanted):
        return
    assert there is not None
    raise CrmError(
        f"{stack_file_name(stack)}: crm:database.shards: {stack} is deployed with {len(there)}; "
        f"with {len(wanted)}, {_share(there, wanted)}, which nothing moves "
        f"(crm shards plan {stack} shows it); write {len(there)} again, or, to begin anew "
        f"without the rows: crm destroy {stack} --delete-data"
    )


def _share(before: Map, after: Map) -> str:
    moved = sum(move.count for move in shard_map.moves(before, after))
    return f"{moved} of {BUCKETS} buckets of customers would be on another server"


def _text(stack: str, before: Map, after: Map, deployed: bool) -> str:
    now, then = ({held.name: held for held in each} for each in (before, after))
    rows = [("shard", "buckets now", "then")]
    for name in now | then:
        was, will = (
            _run(held[name].first, held[name].last) if name in held else "–" for held in (now, then)
        )
        rows.append((name, was, will))
    lines = [
        f"{stack}: map {shard_map.version(before)} ({'deployed' if deployed else 'stack file'}) "
        f"→ map {shard_map.version(after)}",
        "",
        *(f"{name:<13}{was:<16}{will}" for name, was, will in rows),
        "",
        *(
            f"buckets {_run(move.first, move.last)}: {move.source} → {move.target}"
            for move in shard_map.moves(before, after)
        ),
        f"{_share(before, after)}.",
    ]
    return "\n".join(lines)


def _run(first: int, last: int) -> str:
    return f"{first}–{last} ({last - first + 1})"


def _json(before: Map, after: Map) -> str:
    def document(held: Map) -> dict[str, object]:
        shards = [{"name": h.name, "first_bucket": h.first, "last_bucket": h.last} for h in held]
        return {"version": shard_map.version(held), "shards": shards}

    moves = [
        {"from": m.source, "to": m.target, "first_bucket": m.first, "last_bucket": m.last}
        for m in shard_map.moves(before, after)
    ]
    return json.dumps({"now": document(before), "then": document(after), "moves": moves}, indent=2)
