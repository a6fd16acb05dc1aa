"""The cache tier: Redis, one server or the masters of a cluster."""

from collections.abc import Mapping

from stacks.plan import CacheNode, CachePlan, Plan
from stacks.workload import Data, Health, Instance, Port, Workload


def workloads(plan: Plan, files: Mapping[str, str]) -> list[Workload]:
    """The nodes, or nothing where the stack uses a cache that exists already."""
    cache = plan.cache
    if cache.external:
        return []
    cluster = cache.mode == "cluster"
    port = cache.nodes[0].port
    ports = [Port(name="redis", number=port)]
    if cluster:
        ports.append(Port(name="bus", number=port + 10000, peers=True))
    return [
        Workload(
            name="cache",
            tier="cache",
            image=cache.image,
            command=("sh", "/etc/crm/start.sh"),
            uid=10003,
            cpus=cache.cpus,
            memory_mib=cache.memory_mib,
            instances=tuple(_instance(cache, node, files) for node in cache.nodes),
            files={"start.sh": files["redis/start.sh"]},
            secrets=("cache_password",),
            ports=tuple(ports),
            # A single cache keeps nothing: its working directory is memory it never writes to.
            tmpfs_mib={"/run/crm": 8, "/tmp": 16} | ({} if cluster else {"/data": 8}),  # noqa: S108
            health=Health(command=_probe(port, cluster)),
            stop_first=True,
            connects_to=("cache",) if cluster else (),
        )
    ]


def _instance(cache: CachePlan, node: CacheNode, files: Mapping[str, str]) -> Instance:
    own = {"redis.conf": files[f"redis/{node.name}/redis.conf"]}
    if cache.mode != "cluster":
        return Instance(name=node.name, host=node.host, files=own)
    # A cluster node remembers its identity and slots. They are those of this cluster only, so
    # the number of masters is in the volume's name as it is in the node's address.
    own["join.sh"] = files[f"redis/{node.name}/join.sh"]
    return Instance(
        name=node.name, host=node.host, files=own, data=Data(name=node.host, protect=False)
    )


def _probe(port: int, cluster: bool) -> tuple[str, ...]:
    """Succeeds when the node answers. Whether the cluster is whole is asked of each node too, but
    only once it has met the others: the first node must become healthy before the second starts.
    """
    ask = "CLUSTER INFO | grep -q cluster_state:" if cluster else "PING | grep -q PONG"
    return (
        "sh",
        "-c",
        "REDISCLI_AUTH=$(cat /etc/crm/secrets/cache_password) && export REDISCLI_AUTH && "
        f"redis-cli -p {port} {ask}",
    )
