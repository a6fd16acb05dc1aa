"""Names, ranges, keys and settings of a cluster, without one."""

from __future__ import annotations

import ipaddress
import json
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from stacks.errors import CrmError
from tests.cluster import certificates, machine, place, programs, recipe
from tests.cluster.cluster import Cluster


def test_names_differ_between_checkouts_and_are_short_enough() -> None:
    one, two = place.Place(Path("/one")), place.Place(Path("/two"))
    assert one.link != two.link
    assert one.cgroup != two.cgroup
    assert len(one.link) <= 15
    assert len(programs.CONTAINERD_SOCKET) <= 107


def test_link_range_avoids_what_the_machine_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    spot = place.Place(Path("/one"))
    monkeypatch.setattr(machine, "_used_ranges", lambda: iter(()))
    first = machine.free_link_range(spot)
    taken = ipaddress.IPv4Network(f"{first[0]}/30", strict=False)
    monkeypatch.setattr(machine, "_used_ranges", lambda: iter((taken,)))
    second = machine.free_link_range(spot)
    assert ipaddress.IPv4Address(second[0]) not in taken
    everything = ipaddress.IPv4Network(place.LINK_RANGE)
    monkeypatch.setattr(machine, "_used_ranges", lambda: iter((everything,)))
    with pytest.raises(CrmError, match=r"no /30 of 10\.213\.0\.0/16 is free"):
        machine.free_link_range(spot)


def test_build_key_changes_with_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recipe.build_key()
    shutil.copytree(recipe.SOURCES, tmp_path / "cluster")
    monkeypatch.setattr(recipe, "SOURCES", tmp_path / "cluster")
    assert recipe.build_key() == before
    with (tmp_path / "cluster/cmd/pause/main.go").open("a") as file:
        file.write("// changed\n")
    assert recipe.build_key() != before


def test_modules_are_pinned_to_one_kubernetes() -> None:
    modules = (recipe.SOURCES / "go.mod").read_text()
    assert f"\tk8s.io/kubernetes {recipe.KUBERNETES}\n" in modules
    staging = recipe.KUBERNETES.replace("v1.", "v0.")
    replaced = [line.split() for line in modules.splitlines() if "=>" in line]
    assert {line[-1] for line in replaced} == {staging}
    assert len(replaced) > 30


def test_manifests_and_settings_agree_on_the_name_server() -> None:
    manifest = (recipe.SOURCES / "manifests/coredns.yaml").read_text()
    assert f"clusterIP: {place.DNS_SERVICE} " in manifest
    assert programs.KUBELET["clusterDNS"] == [place.DNS_SERVICE]
    assert ipaddress.ip_address(place.DNS_SERVICE) in ipaddress.ip_network(place.SERVICE_RANGE)


def test_certificates_are_signed_by_the_authority_and_kept_from_others(tmp_path: Path) -> None:
    certificates.write_all(tmp_path / "pki", "10.213.0.2", tmp_path / "kubeconfig")
    root = x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((tmp_path / "pki/apiserver.crt").read_bytes())
    server.verify_directly_issued_by(root)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("10.213.0.2") in names.get_values_for_type(x509.IPAddress)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "pki").iterdir())
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o077 == 0
    config = json.loads((tmp_path / "kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://10.213.0.2:6443"


def test_cluster_that_never_ran_is_stopped_and_says_how_to_start_it(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    assert cluster.status() == ["stopped"]
    cluster.stop()
    with pytest.raises(CrmError, match=r"does not run: start it with `make cluster`"):
        _ = cluster.address
    assert not cluster.place.folder.exists()
