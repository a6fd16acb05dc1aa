"""The manifests as YAML files."""

from __future__ import annotations

import yaml

from stacks.paths import GOLDEN
from tests.manifests.reading import containers, every_set, of_kind
from tests.manifests.sets import NAMES, SCALED, SECRET, made, parsed, texts


@every_set
def test_files_hold_the_same_objects_in_their_order(name: str) -> None:
    _, _, found = made(name)
    read = [d for text in texts(name).values() for d in yaml.safe_load_all(text)]
    # By workload and not by dependency; within a file the order is kept.
    by_file = sorted(found, key=lambda m: m.workload or "00-namespace")
    assert read == [m.object for m in by_file]


def test_namespace_comes_first_for_who_applies_the_folder() -> None:
    paths = list(texts("kubernetes"))
    assert paths == sorted(paths)
    assert paths[0] == "kubernetes/00-namespace.yaml"
    assert yaml.safe_load_all(texts("kubernetes")[paths[0]]).__next__()["kind"] == "Namespace"


def test_text_files_are_readable_in_them() -> None:
    text = texts("kubernetes")["kubernetes/edge.yaml"]
    assert "  haproxy.cfg: |\n" in text
    assert "    frontend edge\n" in text
    assert "&id" not in text, "no references between parts of a file"
    for name in NAMES:
        whole = "".join(texts(name).values())
        for object_ in of_kind(made(name)[2], "ConfigMap").values():
            for file in object_["data"]:
                assert f"\n  {file}: |\n" in whole, f"{name}: {file} is one quoted line"


def test_rendered_files_of_the_shipped_stack_are_the_reviewed_ones() -> None:
    for path in texts("kubernetes"):
        assert (GOLDEN / "kubernetes" / path).is_file()


@every_set
def test_numbers_are_written_as_the_api_writes_them_back(name: str) -> None:
    # Another form of the same number would look like a change at every `up`.
    _, _, found = made(name)
    for _, container in containers(found):
        for values in container["resources"].values():
            for value in values.values():
                number = value.rstrip("mMGTi")
                assert number.isdigit()
                assert not (value.endswith("m") and int(number) % 1000 == 0)
                assert not (value.endswith(("Mi", "Gi")) and int(number) % 1024 == 0)


def test_secrets_taken_from_elsewhere_change_no_manifest() -> None:
    given = parsed(secrets={"cache_password": SECRET})[2]
    assert [m.object for m in given] == [m.object for m in parsed()[2]]


def test_autoscaled_stack_has_no_named_replica_anywhere() -> None:
    planned, _, found = parsed(**SCALED)
    assert [b.host for pool in planned.edge.pools for b in pool.backends] == ["app"]
    assert not [m.key for m in found if m.key.startswith("app-1")]
