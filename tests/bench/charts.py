"""The same objects made by Helm and by Kustomize, where they are installed.

Equivalent means: for each workload of the stack a Deployment, a Service and a ConfigMap that holds
the same files, which those tools put together from a chart or a base.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stacks import plan, render, stack_file, tiers
from tests.bench.measure import Command, pair
from tests.bench.render import bench
from tests.bench.table import Row

CHART = {"apiVersion": "v2", "name": "crm", "version": "0.1.0"}

# Rendered from values, as charts are: the tool has to do the work that `crm render` does.
TEMPLATE = """\
{{- range $name, $w := .Values.workloads }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ $name }}}
spec:
  replicas: {{ $w.replicas }}
  selector: {matchLabels: {app: {{ $name }}}}
  template:
    metadata: {labels: {app: {{ $name }}}}
    spec:
      containers:
        - name: {{ $name }}
          image: {{ $w.image | quote }}
          resources: {limits: {memory: {{ $w.memory_mib }}Mi, cpu: {{ $w.cpus | quote }}}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ $name }}}
spec:
  selector: {app: {{ $name }}}
  ports: [{port: {{ $w.port }}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ $name }}}
data:
{{- range $file, $text := $w.files }}
  {{ $file }}: {{ $text | quote }}
{{- end }}
{{- end }}
"""


def values(stack: str) -> dict[str, Any]:
    """The stack's workloads as a chart's values."""
    planned = plan.make(stack, stack_file.load(stack))
    files = render.Renderer().tree(planned)
    return {
        "workloads": {
            workload.name: {
                "replicas": len(workload.instances),
                "image": workload.image,
                "cpus": f"{workload.cpus:g}",
                "memory_mib": workload.memory_mib,
                "port": workload.ports[0].number if workload.ports else 1,
                "files": {
                    f"{instance.name}.{name}": text
                    for instance in workload.instances
                    for name, text in workload.files_of(instance).items()
                },
            }
            for workload in tiers.workloads(planned, files, "crm-app:000000000000")
        }
    }


def objects(stack: str) -> list[dict[str, Any]]:
    """The objects that the chart makes of ``values``."""
    found: list[dict[str, Any]] = []
    for name, w in values(stack)["workloads"].items():
        label = {"app": name}
        limits = {"memory": f"{w['memory_mib']}Mi", "cpu": w["cpus"]}
        container = {"name": name, "image": w["image"], "resources": {"limits": limits}}
        pod = {"metadata": {"labels": label}, "spec": {"containers": [container]}}
        found += [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {
                    "replicas": w["replicas"],
                    "selector": {"matchLabels": label},
                    "template": pod,
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": label, "ports": [{"port": w["port"]}]},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "data": w["files"],
            },
        ]
    return found


def write_chart(folder: Path, stack: str) -> None:
    """A chart that Helm can render. JSON is YAML, so no writer of YAML is needed."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(json.dumps(CHART))
    (folder / "values.yaml").write_text(json.dumps(values(stack)))
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)


def write_base(folder: Path, stack: str) -> None:
    """A base that Kustomize can build: one file an object, a label and a prefix over all."""
    folder.mkdir(parents=True)
    names = []
    for found in objects(stack):
        names.append(f"{found['kind']}-{found['metadata']['name']}.yaml".lower())
        (folder / names[-1]).write_text(json.dumps(found))
    kustomization = {"resources": names, "namePrefix": f"{stack}-", "namespace": "crm"}
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))


def rows(stack: str, times: int) -> Iterator[Row | str]:
    """``crm render`` of ``stack`` against each of the two tools that is here."""
    with bench() as here, tempfile.TemporaryDirectory(prefix="crm-bench-") as name:
        folder = Path(name)
        for tool, words, write in (
            ("helm", ("template", "chart"), write_chart),
            ("kustomize", ("build", "chart"), write_base),
        ):
            if shutil.which(tool) is None:
                yield f"{tool} {words[0]}: {tool} is not on PATH, so it is not compared."
                continue
            shutil.rmtree(folder / "chart", ignore_errors=True)
            write(folder / "chart", stack)
            other = Command((tool, *words), folder, os.environ)
            measured = pair(here.crm("render", stack), other, times)
            count = len(objects(stack))
            against = f"{tool} {words[0]}, {count} objects"
            yield Row(f"crm render {stack}, warm", against, measured, measured.ratio, "×")
