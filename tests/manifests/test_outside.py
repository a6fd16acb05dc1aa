"""What others say of the manifests: Kubernetes' own schemas, and a hardening checker."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from stacks.manifests import Manifest, documents
from tests.manifests import checkov
from tests.manifests.reading import every_set, of_kind, one
from tests.manifests.sets import NAMES, made, texts

VERSIONS = ("1.33", "1.34", "1.35", "1.36")

# --- Schemas -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


def validate(value: dict[str, Any], version: str) -> None:
    # It says which schema it used: one it does not have would be judged by another's.
    assert kubernetes_validate.validate(value, version, strict=True) == version


@every_set
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_this_version_knows(name: str, version: str) -> None:
    read = [d for text in texts(name).values() for d in yaml.safe_load_all(text)]
    assert len(read) == len(made(name)[2])
    for value in read:
        validate(value, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_values_of_secrets_go_where_this_version_has_them(version: str) -> None:
    secret = one(made("kubernetes")[2], "database-secrets")
    validate({**secret, "stringData": {"database_root_password": "x"}}, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["app-1", "database-1", "schema", "edge-service", "allow-dns"])
def test_a_field_that_is_not_there_would_be_found(key: str, version: str) -> None:
    spoiled = copy.deepcopy(one(made("kubernetes")[2], key))
    spoiled["spec"]["nope"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="nope"):
        validate(spoiled, version)


def test_sets_hold_every_kind_there_is() -> None:
    kinds = {m.object["kind"] for name in NAMES for m in made(name)[2]}
    assert kinds == {
        *("Namespace", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim"),
        *("Deployment", "StatefulSet", "Job", "CronJob", "HorizontalPodAutoscaler"),
        *("PodDisruptionBudget", "NetworkPolicy", "Service", "Ingress"),
    }


# --- Hardening -----------------------------------------------------------------------------------

ASIDE = {
    "CKV_K8S_43": "image by digest: those imported by hand have none",
    "CKV_K8S_15": "pull policy Always: the same, and a pinned tag is not another image tomorrow",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def spoiled(found: list[Manifest]) -> list[Manifest]:
    """``found`` with one thing wrong with each of some objects."""
    copies = copy.deepcopy(found)
    app = one(copies, "app-1")["spec"]["template"]["spec"]
    del app["containers"][0]["livenessProbe"]
    app["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
    database = one(copies, "database-1")["spec"]["template"]["spec"]
    database["containers"][0]["securityContext"]["capabilities"] = {}
    database["securityContext"]["runAsUser"] = 999
    job = one(copies, "schema")["spec"]["template"]["spec"]
    job["automountServiceAccountToken"] = True
    del one(copies, "edge")["spec"]["template"]["spec"]["initContainers"][0]["resources"]
    return copies


SPOILED = {
    ("CKV_K8S_8", "app-1"),  # no liveness probe
    ("CKV_K8S_22", "app-1"),  # its root can be written
    ("CKV_K8S_37", "database-1"),  # capabilities
    ("CKV_K8S_40", "database-1"),  # a low user id
    ("CKV_K8S_38", "schema"),  # a token of the API
    ("CKV_K8S_13", "edge"),  # no memory limit, in an init container
}


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> checkov.Verdict:
    """One run over every set, each in a folder of its name, and over a spoiled one."""
    folder = tmp_path_factory.mktemp("judged")
    for name in NAMES:
        write(folder / name, texts(name))
    write(folder / "spoiled", documents(spoiled(made("kubernetes")[2])))
    return checkov.judge(folder)


@every_set
def test_hardening_checker_finds_nothing(name: str, verdict: checkov.Verdict) -> None:
    mine = {(check, what) for check, path, what in verdict.failed if path.startswith(f"{name}/")}
    assert {(check, what) for check, what in mine if check not in ASIDE} == set()
    # It was judged: what is put aside was found in each of its controllers.
    kinds = ("Deployment", "StatefulSet", "Job", "CronJob")
    controllers = of_kind(made(name)[2], *kinds).values()
    judged = {what.rpartition(".")[2] for check, what in mine if check == "CKV_K8S_43"}
    assert judged == {o["metadata"]["name"] for o in controllers}


def test_hardening_checker_judged_all_of_it(verdict: checkov.Verdict) -> None:
    assert verdict.unread == 0
    controllers = [m for name in NAMES for m in made(name)[2] if "template" in str(m.object)]
    assert verdict.passed > 40 * len(controllers)


def test_hardening_checker_finds_what_is_spoiled(verdict: checkov.Verdict) -> None:
    controllers = of_kind(made("kubernetes")[2], "Deployment", "StatefulSet", "Job")
    names = {o["metadata"]["name"]: key for key, o in controllers.items()}
    found = {
        (check, names[what.rpartition(".")[2]])
        for check, path, what in verdict.failed
        if path.startswith("spoiled/") and check not in ASIDE
    }
    assert found >= SPOILED, SPOILED - found
    assert {what for _, what in found} == {what for _, what in SPOILED}
