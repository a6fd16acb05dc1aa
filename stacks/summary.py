"""The two pages for a reviewer: a picture of the stack, and its sizes on one page.

Where an autoscaler decides, sums are those of the most replicas there may be.
"""

from __future__ import annotations

from stacks.balancing import EdgePlan
from stacks.offsite import OFFSITE_MIB
from stacks.partitions import KEEPER_CPUS, KEEPER_MIB, Kept
from stacks.plan import CachePlan, Plan, connection_budget
from stacks.services import ScalePlan, ServicePlan
from stacks.shard_map import BUCKETS


def topology(plan: Plan) -> str:
    """A Mermaid flow chart of what talks to what, in Markdown."""
    edge, database, cache = plan.edge, plan.database, plan.cache
    lines = [
        f"# Topology of {plan.stack}",
        "",
        "```mermaid",
        "flowchart LR",
        f'  people(["people"]) -->|"{_door(plan)}"| edge',
        f'  edge["edge<br/>{edge.proxy}, {edge.algorithm}<br/>'
        f'{_edges(edge)}{_size(edge.cpus, edge.memory_mib)}"]',
    ]
    prefixes: dict[str, list[str]] = {service.name: [] for service in plan.services}
    for route in edge.routes:
        prefixes[route.pool].append(route.prefix)
    for service in plan.services:
        arrow = f'-->|"{"<br/>".join(found)}"|' if (found := prefixes[service.name]) else "-->"
        for name in service.instances:
            label = f"{name}<br/>{service.workers} × {service.threads}<br/>"
            label += _size(service.cpus, service.memory_mib)
            if service.scale:
                label += f"<br/>{_scale(service.scale)}"
            lines += [f'  {_id(name)}["{label}"]', f"  edge {arrow} {_id(name)}"]
    lines.append('  subgraph database["database: MySQL"]')
    for shard in database.shards:
        size = (
            f"{shard.host}:{shard.port}"
            if database.external
            else _size(database.cpus, database.memory_mib)
        )
        label = f"{shard.name}<br/>buckets {shard.first_bucket}–{shard.last_bucket}<br/>{size}"
        lines.append(f'    {_id(shard.name)}[("{label}")]')
    lines += ["  end", '  subgraph cache["cache: Redis"]']
    for node in cache.nodes:
        size = f"{node.host}:{node.port}" if cache.external else _size(cache.cpus, cache.memory_mib)
        slots = f"slots {node.first_slot}–{node.last_slot}<br/>" if cache.mode == "cluster" else ""
        lines.append(f'    {_id(node.name)}[["{node.name}<br/>{slots}{size}"]]')
    lines.append("  end")
    for service in plan.services:
        for name in service.instances:
            lines += [f"  {_id(name)} --> database", f"  {_id(name)} --> cache"]
    return "\n".join([*lines, "```", ""])


def sizes(plan: Plan) -> str:
    """What runs, how many and how large, and what follows from it, in Markdown."""
    edge, database, cache = plan.edge, plan.database, plan.cache
    rows = [
        ("edge", edge.proxy, edge.replicas, edge.cpus, edge.memory_mib),
        *(("app", _runs(s), s.most, s.cpus, s.memory_mib) for s in plan.services),
    ]
    if not database.external:
        rows.append(("database", "MySQL", len(database.shards), database.cpus, database.memory_mib))
    if database.kept:
        rows.append(("partitions", "their keeper", 1, KEEPER_CPUS, KEEPER_MIB))
    if backup := database.backup:
        rows.append(("backup", "mysqldump", len(backup.instances), backup.cpus, backup.memory_mib))
        if copies := backup.offsite:
            size = (copies.cpus, OFFSITE_MIB)
            rows.append(("offsite", "copies to a bucket", len(copies.instances), *size))
    if not cache.external:
        rows.append(
            ("cache", f"Redis ({cache.mode})", len(cache.nodes), cache.cpus, cache.memory_mib)
        )
    cpus = sum(count * each for _, _, count, each, _ in rows)
    memory = sum(count * each for *_, count, _, each in rows)
    lines = [
        f"# Sizes of {plan.stack}",
        "",
        f"Target: {plan.target}. Owner: {plan.owner}. "
        f"Entry: {_entry(plan)} ({edge.proxy}, {edge.algorithm}).",
        "",
        "| tier | runs | how many | CPUs each | MiB each |",
        "| --- | --- | ---: | ---: | ---: |",
        *(f"| {t} | {r} | {n} | {c:g} | {m} |" for t, r, n, c, m in rows),
        f"| all | | {sum(row[2] for row in rows)} | {cpus:g} in all | {memory} in all |",
        "",
        "| what follows | value |",
        "| --- | --- |",
        *_each_edge(edge),
        *(f"| {s.name} replicas | {_scale(s.scale)} |" for s in plan.services if s.scale),
        *(
            f"| {s.name} workers × threads, each replica | {s.workers} × {s.threads} |"
            for s in plan.services
        ),
        *(
            f"| requests at a time, each {pool.name} replica | {pool.in_flight} |"
            for pool in edge.pools
        ),
        *(f"| `{route.prefix}` | goes to {route.pool} |" for route in edge.routes),
        f"| connections to each shard | {connection_budget(plan)} |",
        f"| shard map | version {database.map_version}, {BUCKETS} buckets: {_map(plan)} |",
        f"| `crm_orders` | {_orders(plan)} |",
        *(f"| partitions of `{kept.table}` | {_kept(kept)} |" for kept in database.kept),
        *_backups(plan),
        f"| cache | {_cache(cache)}, {cache.ttl_seconds} s |",
    ]
    return "\n".join([*lines, ""])


def _edges(edge: EdgePlan) -> str:
    return f"{edge.replicas} × " if edge.replicas > 1 else ""


def _each_edge(edge: EdgePlan) -> list[str]:
    """What the edge's replicas do not know of each other."""
    if edge.replicas == 1:
        return []
    lines = ["| limits of the edge | each of its replicas counts for itself |"]
    if edge.client_requests_per_second:
        most = edge.client_requests_per_second * edge.replicas
        lines.append(f"| requests of one address | {most} a second at most, over all replicas |")
    return lines


def _cache(cache: CachePlan) -> str:
    if cache.external:
        return "external, which decides on its memory and eviction itself"
    return f"{cache.max_memory_mib} MiB of data each, {cache.eviction}"


def _map(plan: Plan) -> str:
    return ", ".join(f"{held.name} {held.first}–{held.last}" for held in plan.database.map)


def _runs(service: ServicePlan) -> str:
    return "Flask" if service.name == "app" else f"Flask ({service.name})"


def _scale(scale: ScalePlan) -> str:
    return f"{scale.min} to {scale.max}, at {scale.cpu_percent} % CPU each"


def _entry(plan: Plan) -> str:
    """Where people find the stack; a cluster gives some of its addresses only later."""
    if plan.target == "docker":
        return plan.edge.url
    kubernetes = plan.kubernetes
    if kubernetes.expose == "ingress":
        return f"http://{kubernetes.ingress_host}"
    if kubernetes.expose == "node_port":
        return f"node port {kubernetes.node_port or 'of the cluster’s choice'} of every node"
    return f"the load balancer of Service edge in {kubernetes.namespace}, port {plan.edge.entry}"


def _door(plan: Plan) -> str:
    if plan.target == "docker":
        return f"{plan.edge.address}:{plan.edge.entry}"
    return {
        "ingress": f"Ingress {plan.kubernetes.ingress_host}",
        "node_port": f"node port {plan.kubernetes.node_port or ''}".rstrip(),
        "load_balancer": f"load balancer:{plan.edge.entry}",
    }[plan.kubernetes.expose]


def _orders(plan: Plan) -> str:
    orders = plan.database.orders
    if orders.partition_by == "none":
        return "not partitioned"
    if orders.partition_by != "range":
        return f"{orders.partition_by} of `{orders.column}`, {orders.count} partitions"
    ranges = orders.partitions[1:-1]
    first, last = (name[2:].replace("_", "-") for name in (ranges[0].name, ranges[-1].name))
    text = f"range by `{orders.column}`, {len(ranges)} {orders.interval}s, {first} to {last}"
    if orders.subpartitions:
        text += f", each in {orders.subpartitions} subpartitions by `customer_id`"
    return text


_OLD = {
    "table": "archived",
    "file": "archived in files, and dropped with a yes",
    "drop": "dropped with a yes",
}
"""What becomes of old partitions."""


def _kept(kept: Kept) -> str:
    behind = "all behind" if kept.retention is None else f"{kept.retention} behind"
    old = "" if kept.retention is None else ", older ones "
    if old:
        old += _OLD[kept.archive]
    return f"{kept.interval}s by `{kept.column}`: {kept.ahead} ahead, {behind}{old}"


def _backups(plan: Plan) -> list[str]:
    backup = plan.database.backup
    if backup is None:
        return []
    lines = [
        f"| backups | of each shard every {backup.every_seconds // 3600} h, {backup.keep} kept, "
        "binary logs as they are written |"
    ]
    if backup.offsite:
        file = backup.offsite.file
        lines.append(
            f"| their copies | in the bucket {file.bucket} of {file.endpoint or file.region}, "
            f"under {file.prefix}/; binary logs every {file.every_seconds} s |"
        )
    return lines


def _size(cpus: float, memory_mib: int) -> str:
    return f"{cpus:g} CPU, {memory_mib} MiB"


def _id(name: str) -> str:
    """A node's id in the picture; without the prefix a service could have that of another node, or
    a word of Mermaid's such as `end`."""
    return f"node_{name.replace('-', '_')}"
