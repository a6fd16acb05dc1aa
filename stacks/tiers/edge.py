"""The edge: the load balancer that people come in by."""

from collections.abc import Mapping

from stacks.balancing import CERTIFICATE_SECRETS
from stacks.plan import Plan
from stacks.tiers.probe import http_get
from stacks.workload import FILES_PATH, Health, Instance, Port, Reload, Workload


def workloads(plan: Plan, files: Mapping[str, str]) -> list[Workload]:
    """One proxy, or equal ones behind one name. Changed files are validated, then reloaded: on
    Docker none is replaced for them."""
    edge = plan.edge
    name = edge.files[0]
    if edge.proxy == "haproxy":
        # Warnings are errors.
        validate: tuple[str, ...] = ("haproxy", "-c", "-dW", "-f", f"{FILES_PATH}/{name}")
        command = ("haproxy", "-W", "-db", "-f", f"{FILES_PATH}/{name}")
        # The master re-executes itself on USR2 and old workers finish what they have.
        reload_signal, stop_signal = "SIGUSR2", "SIGUSR1"
    else:
        validate = ("nginx", "-t", "-c", f"{FILES_PATH}/{name}")
        command = ("nginx", "-c", f"{FILES_PATH}/{name}", "-g", "daemon off;")
        reload_signal, stop_signal = "SIGHUP", "SIGQUIT"
    ports = [Port(name="http", number=edge.port, publish=edge.address)]
    if edge.tls is not None:
        ports.append(Port(name="https", number=edge.tls.port, publish=edge.address))
    ports.append(Port(name="metrics", number=edge.metrics_port, metrics=True))
    return [
        Workload(
            name="edge",
            tier="edge",
            image=edge.image,
            command=command,
            uid=10004,
            cpus=edge.cpus,
            memory_mib=edge.memory_mib,
            # The first is called as the only one is: more of them leave it alone.
            instances=(
                Instance(name="edge", host="edge"),
                *(Instance(name=f"edge-{n}", host="edge") for n in range(2, edge.replicas + 1)),
            ),
            files={file: files[f"{edge.proxy}/{file}"] for file in edge.files},
            secrets=CERTIFICATE_SECRETS if edge.tls else (),
            ports=tuple(ports),
            health=Health(command=http_get(edge.port, "/edge/healthz")),
            reload=Reload(validate=validate, signal=reload_signal),
            stop_signal=stop_signal,
            after=tuple(service.name for service in plan.services),
            connects_to=tuple(service.name for service in plan.services),
        )
    ]
