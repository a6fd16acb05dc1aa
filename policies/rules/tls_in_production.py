"""In production people come in by HTTPS, with a certificate that their browsers know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import files, is_docker, is_kubernetes, tier
from stacks.spec_policies import Policies

_LISTENS = re.compile(r"^\s*(listen [^;]*\bssl\b|bind .*\bssl\b.*\bcrt\b)", re.MULTILINE)


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    if not asked.production:
        return
    edges = [r for r in resources if files(r) and tier(r) == "edge"]
    doors = [r for r in resources if is_kubernetes(r) and r.kind == "Ingress"]
    for door in doors:
        if not door.inputs["spec"].get("tls"):
            yield Problem(door.name, "is an Ingress that names no certificate")
    for edge in edges if not doors else ():
        if not any(_LISTENS.search(str(text)) for text in files(edge).values()):
            yield Problem(edge.name, "listens for plain HTTP alone")
    if not edges:
        yield Problem("edge", "there is no edge, so nothing speaks HTTPS")
    for resource in resources:
        # No browser reads those of others: what connects to them is told their authority.
        of_edge = "unit" not in resource.inputs
        if is_docker(resource, "GeneratedCertificate") and of_edge:
            yield Problem(resource.name, "is a self-made certificate, which no browser knows")


RULE = Rule(
    name="tls_in_production",
    reason="Without it everybody on the way reads passwords and customers' data.",
    fix="write crm:edge.tls with a certificate and its key",
    reads=("Files", "ConfigMap", "Ingress", "GeneratedCertificate"),
    find=_find,
    alone=False,
)
