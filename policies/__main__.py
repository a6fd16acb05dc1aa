"""The policy pack as the Pulumi CLI starts it: the same rules, the same stack file's wishes.

Rules that judge a resource alone see it before it is made, the others at the end of a preview. They
see what a program asks for, not what a provider makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pulumi
from pulumi.runtime import get_config_env
from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

# Its own way past the proxies that have a policy skipped where a value is not known yet.
from pulumi_policy.deserialize import serialize_properties

from policies import judge
from policies.model import Finding, Resource, Rule
from stacks import stack_file
from stacks.policy_gate import without_secrets
from stacks.pulumi_state.values import reveal
from stacks.spec_policies import Level, Policies

Policy = ResourceValidationPolicy | StackValidationPolicy


class Pack:
    """The policies of one run. ``asked`` is what its stack's file says of them."""

    def __init__(self, asked: Policies) -> None:
        self._asked = asked
        self._today = datetime.now(UTC).date()
        self._marked: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, Resource] = {}
        self._mended: dict[str, list[Finding]] = {}

    def policies(self) -> list[Policy]:
        """What resources are, then each rule, then the exceptions' own."""
        return [
            ResourceValidationPolicy(
                "resources",
                "Keeps what each resource asks for, for the rules; changes nothing.",
                self._keep,
                # What remediates is asked first, and is the one that is told what is secret.
                EnforcementLevel.REMEDIATE,
                remediate=self._mark,
            ),
            ResourceValidationPolicy(
                "remedies",
                "Says what rules of the level remediate have put right.",
                self._say,
                EnforcementLevel.ADVISORY,
            ),
            *map(self._policy, judge.RULES),
            StackValidationPolicy(
                judge.EXCEPTIONS,
                "Exceptions end on their day.",
                lambda _, report: _tell(judge.expired(self._asked, self._today), report),
                EnforcementLevel.MANDATORY,
            ),
            StackValidationPolicy(
                "idle_exceptions",
                "Exceptions are for something that the stack has.",
                self._idle,
                EnforcementLevel.ADVISORY,
            ),
        ]

    def _policy(self, rule: Rule) -> Policy:
        given = judge.level_of(rule, self._asked)
        level: Level = "mandatory" if given == "remediate" else given

        def one(args: ResourceValidationArgs, report: ReportViolation) -> None:
            _tell(self._by(rule, [self._seen[args.urn]]), report, level)

        def all_of_them(args: StackValidationArgs, report: ReportViolation) -> None:
            _tell(self._by(rule, self._all(args)), report, level)

        if rule.alone:
            return ResourceValidationPolicy(
                rule.name,
                rule.reason,
                one,
                EnforcementLevel(given),
                # It takes what is there at once as well as what is awaited.
                remediate=cast(Any, partial(self._mend, rule)) if rule.remedy else None,
                remediation_steps=rule.fix,
            )
        return StackValidationPolicy(
            rule.name, rule.reason, all_of_them, EnforcementLevel(level), remediation_steps=rule.fix
        )

    def _idle(self, args: StackValidationArgs, report: ReportViolation) -> None:
        _tell(judge.idle(self._asked, self._all(args), self._today), report, "advisory")

    def _all(self, args: StackValidationArgs) -> list[Resource]:
        return [self._seen.get(found.urn) or _plain(found) for found in args.resources]

    def _by(self, rule: Rule, resources: list[Resource]) -> Iterator[Finding]:
        return judge.by_rule(rule, resources, self._asked, self._today)

    def _mark(self, args: ResourceValidationArgs) -> None:
        self._marked[args.urn] = dict(serialize_properties(args.props))

    def _mend(self, rule: Rule, args: ResourceValidationArgs) -> dict[str, Any] | None:
        """The inputs that the CLI takes instead, secrets marked as it marks them."""
        inputs = dict(serialize_properties(args.props))
        given = Resource(args.resource_type, args.name, inputs, args.opts.protect)
        made, told = judge.mend(given, self._asked, self._today, [rule], without_secrets)
        for finding in told:
            if finding.level == "mandatory":
                raise RuntimeError(str(finding))
        if not told:
            return None
        self._mended.setdefault(args.urn, []).extend(told)
        self._marked[args.urn] = dict(made.inputs)
        return self._marked[args.urn]

    def _say(self, args: ResourceValidationArgs, report: ReportViolation) -> None:
        for finding in self._mended.pop(args.urn, []):
            report(f"{finding.rule}: {finding.place}: {finding.what}; {finding.fix}", None)

    def _keep(self, args: ResourceValidationArgs, _report: ReportViolation) -> None:
        marked = self._marked.get(args.urn, {})
        # Another pack may have changed it in between.
        same = reveal(marked) == serialize_properties(args.props)
        self._seen[args.urn] = _plain(args, marked if same else None)


def _plain(
    given: ResourceValidationArgs | PolicyResource, marked: Mapping[str, Any] | None = None
) -> Resource:
    inputs = dict(marked or serialize_properties(given.props))
    return Resource(given.resource_type, given.name, without_secrets(inputs), given.opts.protect)


def _tell(findings: Iterator[Finding], report: ReportViolation, level: Level = "mandatory") -> None:
    for finding in findings:
        if finding.level != level:
            # A rule that failed by itself: not even an advisory one may then be passed over.
            raise RuntimeError(str(finding))
        report(f"{finding.place}: {finding.what}; {finding.fix}", None)


def main() -> None:
    """Serve the stack that Pulumi names, until it has heard enough."""
    given = json.loads(get_config_env().get(f"{stack_file.NAMESPACE}:policies", "{}"))
    asked = stack_file.parse({"policies": given}, pulumi.get_stack()).policies
    PolicyPack("crm", list(Pack(asked).policies()))


if __name__ == "__main__":
    main()
