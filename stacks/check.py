"""``crm check``: every check of a stack that needs no deployment."""

from __future__ import annotations

from datetime import UTC, datetime

from stacks import images, plan, policy_gate, render, stack_file, tiers
from stacks.balancing import CERTIFICATE_SECRETS, EdgePlan
from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.plan import Plan
from stacks.targets import docker_host


def run(stack: str) -> int:
    """Check the stack file, the templates, and the proxy's configuration by the proxy itself.

    Raises ``CrmError`` with the first thing that is wrong; returns 0 when nothing is.
    """
    spec = stack_file.load(stack)
    planned = plan.make(stack, spec)
    print(f"{stack}: stack file and plan: right")
    judged = policy_gate.check(planned, spec.policies)
    print(f"{stack}: policies: all {judged} resources may be deployed")
    judge(planned)
    return 0


def judge(planned: Plan) -> None:
    """Have the services themselves read what is rendered for them. Raises ``CrmError`` with what
    one of them refuses."""
    stack = planned.stack
    files = render.Renderer().tree(planned)
    print(f"{stack}: templates: {len(files)} files rendered")
    for name in sorted(name for name in files if name.endswith(".sql")):
        _sql(stack, name, files[name])
    secrets = _certificate(planned.edge)
    for workload in tiers.workloads(planned, files, images.app_reference(ROOT)):
        if workload.reload is None:
            continue
        hosts = [backend.host for pool in planned.edge.pools for backend in pool.backends]
        docker_host.validate(
            {
                "volume": f"crm-{stack}-check-{workload.name}",
                "labels": {},
                "image": images.ensure(workload.image, print),
                "uid": workload.uid,
                "files": workload.files_of(workload.instances[0]),
                "secrets": secrets,
                "reload": {
                    "container": f"{stack}: {workload.name}",
                    "validate": list(workload.reload.validate),
                    "networks": [],
                    "tmpfs_mib": dict(workload.tmpfs_mib),
                },
            },
            extra_hosts=dict.fromkeys(hosts, "127.0.0.1"),
        )
        print(f"{stack}: {workload.name}: accepted by {' '.join(workload.reload.validate)}")


def _sql(stack: str, name: str, text: str) -> None:
    """Before any server is asked. Advice is printed, an error raised as ``CrmError``."""
    from stacks import sql_lint
    from stacks.sql_lint import report

    found = list(sql_lint.lint(text))
    lines = report.lines([(name, finding) for finding in found])
    if any(finding.error for finding in found):
        raise CrmError("MySQL would refuse what is rendered:\n" + "\n".join(lines))
    for line in lines:
        print(f"{stack}: {line}")
    print(f"{stack}: {name}: nothing that MySQL would refuse")


def _certificate(edge: EdgePlan) -> dict[str, str]:
    """One to throw away: the proxy reads a certificate to judge its configuration."""
    if edge.tls is None:
        return {}
    from stacks import certificates

    made = certificates.self_made(edge.tls.hosts, edge.address, None, datetime.now(UTC))
    return dict(zip(CERTIFICATE_SECRETS, (made.certificate, made.key), strict=True))
