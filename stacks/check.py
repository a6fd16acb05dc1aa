"""``crm check``: every check of a stack that needs no deployment, all that they find at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from policies.judge import EXCEPTIONS, RULES
from stacks import images, plan, policy_gate, render, stack_file, tiers
from stacks.balancing import CERTIFICATE_SECRETS, EdgePlan
from stacks.check_places import Places
from stacks.check_report import About, Report, Shown, write
from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.plan import Plan
from stacks.spec import StackSpec
from stacks.targets import docker_host

if TYPE_CHECKING:
    from stacks import sql_lint

_T = TypeVar("_T")


def run(stack: str, sarif: Path | None = None, junit: Path | None = None) -> int:
    """Check the stack file, the templates, the policies, and the proxy's configuration by the proxy
    itself. Returns 1 when anything is wrong, else 0, and writes reports of what was found."""
    check = _Check(stack)
    check.all()
    write(check.report, sarif, junit)
    return 1 if check.report.fails else 0


class _Check:
    """The checks of one stack: each says what it finds, and the others go on."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._places = Places(stack)
        about: dict[str, About] = {rule.name: About(rule.reason, rule.fix) for rule in RULES}
        self.report = Report(stack, {}, about)

    def all(self) -> None:
        """What cannot be asked without the one before is left out where that failed."""
        loaded = self._ask("stack_file", self._load)
        if loaded is None:
            return
        spec, planned = loaded
        files = self._ask("templates", lambda: render.Renderer().tree(planned))
        if files is None:
            return
        self._places.files = files
        print(f"{self._stack}: templates: {len(files)} files rendered")
        self._ask("policies", lambda: self._policies(spec, planned))
        for name in sorted(name for name in files if name.endswith(".sql")):
            self._ask("sql", partial(self._sql, name, files[name]))
        self._ask("proxy", lambda: proxies(planned, files))

    def _ask(self, case: str, check: Callable[[], _T]) -> _T | None:
        """What ``check`` answers; a refusal that it has not noted itself is a finding."""
        self.report.add(case)
        before = sum(map(len, self.report.cases.values()))
        try:
            return check()
        except CrmError as error:
            print(f"error: {error}", file=sys.stderr)
            if sum(map(len, self.report.cases.values())) == before:
                place = self._places.of_error(str(error))
                self.report.add(case, Shown(case, True, str(error), place))
            return None

    def _load(self) -> tuple[StackSpec, Plan]:
        spec = stack_file.load(self._stack)
        planned = plan.make(self._stack, spec)
        print(f"{self._stack}: stack file and plan: right")
        return spec, planned

    def _policies(self, spec: StackSpec, planned: Plan) -> None:
        judged, found = policy_gate.judged(planned, spec.policies)
        for name in (*(rule.name for rule in RULES), EXCEPTIONS):
            self.report.add(name)
        for one in found:
            message = f"{one.place}: {one.what}; {one.fix}"
            place = self._places.of_policy(one, spec)
            self.report.add(one.rule, Shown(one.rule, one.level == "mandatory", message, place))
        policy_gate.allow(self._stack, found)
        print(f"{self._stack}: policies: all {judged} resources may be deployed")

    def _sql(self, name: str, text: str) -> None:
        from stacks import sql_lint
        from stacks.sql_lint import report

        found = list(sql_lint.lint(text))
        for one in found:
            place = self._places.of_rendered(name, one.line)
            self.report.add("sql", report.shown(one, f"{name}:{one.line}", place))
        _pass_sql(self._stack, name, found)


def proxies(planned: Plan, files: Mapping[str, str]) -> None:
    """Have the proxy itself read what is rendered for it, and raise ``CrmError`` with what it
    refuses."""
    stack = planned.stack
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


def _pass_sql(stack: str, name: str, found: Sequence[sql_lint.Finding]) -> None:
    """Before any server is asked. Advice is printed, an error raised as ``CrmError``."""
    from stacks.sql_lint import report

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
