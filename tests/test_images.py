"""Which image stands for which, how names follow content, and the builder against real Docker."""

import fcntl
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks import images, images_build, images_recipes, paths
from stacks.errors import CrmError
from stacks.images_debian import debian_mirror, host_mirror, last_error


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "app/crm").mkdir(parents=True)
    (tmp_path / "app/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (tmp_path / "app/requirements.txt").write_text("flask==3.1.0\n")
    (tmp_path / "app/crm/__init__.py").write_text("")
    (tmp_path / "app/crm/web.py").write_text("answer = 42\n")
    return tmp_path


def test_app_reference_has_twelve_hex_digits(root: Path) -> None:
    assert re.fullmatch(r"crm-app:[0-9a-f]{12}", images.app_reference(root))


def test_app_reference_ignores_times_and_bytecode(root: Path) -> None:
    before = images.app_reference(root)
    (root / "app/crm/__pycache__").mkdir()
    (root / "app/crm/__pycache__/web.cpython-313.pyc").write_bytes(b"bytecode")
    (root / "app/README").write_text("not part of the image")
    os.utime(root / "app/crm/web.py", (1, 1))
    assert images.app_reference(root) == before


@pytest.mark.parametrize("name", ["Dockerfile", "requirements.txt", "crm/web.py", "crm/new.css"])
def test_app_reference_changes_with_any_file(root: Path, name: str) -> None:
    before = images.app_reference(root)
    with (root / "app" / name).open("a") as file:
        file.write("# changed\n")
    assert images.app_reference(root) != before


def test_app_reference_changes_with_a_file_name(root: Path) -> None:
    before = images.app_reference(root)
    (root / "app/crm/web.py").rename(root / "app/crm/site.py")
    assert images.app_reference(root) != before


def test_app_reference_without_dockerfile_says_how_to_get_it_back(root: Path) -> None:
    (root / "app/Dockerfile").unlink()
    with pytest.raises(CrmError, match=r"app/Dockerfile: missing.*git checkout -- app"):
        images.app_reference(root)


def test_importing_images_imports_neither_docker_nor_pulumi() -> None:
    program = "import sys, stacks.images; print({'docker', 'pulumi', 'yaml'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("reference", "service"),
    [
        ("nginx:1.30.0", "nginx"),
        ("docker.io/library/haproxy:3.2.4", "haproxy"),
        ("mysql:9.7.0@sha256:" + "0" * 64, "mysql"),
        ("redis", "redis"),
        ("valkey/valkey:8.1", "valkey"),
        ("debian:13.1-slim", "debian"),
    ],
)
def test_equivalent_of_an_official_image(reference: str, service: str) -> None:
    name = images.equivalent(reference)
    assert name is not None
    assert re.fullmatch(rf"crm-local/{service}:[0-9a-f]{{12}}", name)


@pytest.mark.parametrize(
    "reference",
    ["registry.example.org/nginx:1.30.0", "someone/nginx:1", "postgres:17", "crm-app:0123456789ab"],
)
def test_equivalent_of_anything_else_is_none(reference: str) -> None:
    assert images.equivalent(reference) is None


def test_equivalent_does_not_depend_on_the_version_asked_for() -> None:
    assert images.equivalent("mysql:8.4.6") == images.equivalent("mysql:9.7.0")


def test_equivalent_changes_with_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.equivalent("nginx:1.30.0")
    monkeypatch.setattr(images_recipes, "SUITE", "forky")
    assert images.equivalent("nginx:1.30.0") != before


def test_choose_prefers_the_image_itself() -> None:
    stand_in = images.equivalent("nginx:1.30.0") or ""
    assert images.choose("nginx:1.30.0", {"nginx:1.30.0", stand_in}) == "nginx:1.30.0"
    hub = "docker.io/library/nginx:1.30.0"
    assert images.choose(hub, {"nginx:1.30.0", stand_in}) == hub


def test_choose_knows_an_image_pulled_by_digest() -> None:
    digest = "sha256:" + "0" * 64
    assert images.choose(f"mysql:8.4.6@{digest}", {f"mysql@{digest}"}) == f"mysql:8.4.6@{digest}"
    other = images.choose(
        f"mysql:8.4.6@{digest}", {"mysql:8.4.6", images.equivalent("mysql") or ""}
    )
    assert other == images.equivalent("mysql"), "a tag alone is not what was pinned"


def test_choose_takes_the_equivalent_that_is_here() -> None:
    stand_in = images.equivalent("nginx:1.30.0") or ""
    assert images.choose("nginx:1.30.0", {"redis:8.2.1", stand_in}) == stand_in


def test_choose_leaves_a_missing_image_as_it_is() -> None:
    assert images.choose("nginx:1.30.0", ()) == "nginx:1.30.0"
    assert images.choose("example.org/x:1", ()) == "example.org/x:1"


def test_recipe_of_mysql_leaves_no_trace_of_sid() -> None:
    text = images_recipes.dockerfile(images_recipes.RECIPES["mysql"])
    assert text.count("Check-Valid-Until=false") == 1, "one command, never a setting of the image"
    assert text.index("install --yes") < text.index("rm /etc/apt/sources.list.d/sid.list")
    assert "apt.conf" not in text


@pytest.mark.parametrize(
    ("name", "text", "mirror"),
    [
        ("sources.list", "deb [arch=amd64] http://a.example/debian/ bookworm main\n", "a.example"),
        (
            "sources.list.d/debian.sources",
            "Types: deb\n# snapshot\nURIs: http://b.example/debian\nSuites: bookworm\n",
            "b.example",
        ),
        ("sources.list", "deb http://c.example/debian-security bookworm-security main\n", None),
        ("sources.list", "deb https://d.example/debian bookworm main\n", None),
        ("sources.list", "deb-src http://e.example/debian bookworm main\n", None),
    ],
)
def test_host_mirror_reads_both_formats(
    tmp_path: Path, name: str, text: str, mirror: str | None
) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    (tmp_path / "apt" / name).write_text(text)
    assert host_mirror(tmp_path) == (mirror and f"http://{mirror}/debian")


def test_host_mirror_of_another_system_is_none(tmp_path: Path) -> None:
    assert host_mirror(tmp_path) is None
    (tmp_path / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    assert host_mirror(tmp_path) is None


def test_debian_mirror_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_DEBIAN_MIRROR", "http://mirror.example/debian/")
    assert debian_mirror() == "http://mirror.example/debian"


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("nginx:1.30.0", "docker.io"),
        ("valkey/valkey:8", "docker.io"),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("localhost:5000/a:1", "localhost:5000"),
    ],
)
def test_registry_of(reference: str, registry: str) -> None:
    assert images_build.registry_of(reference) == registry


def test_last_error_prefers_the_line_that_says_so() -> None:
    output = "Get:1 …\nE: Unable to locate package x\n\x1b[91mThe command returned a non-zero code"
    assert last_error(output) == "E: Unable to locate package x"
    assert last_error("one\ntwo\n\n") == "two"
    assert last_error("") == ""


def test_context_has_the_same_bytes_whatever_the_order() -> None:
    files = [("b", b"2"), ("a", b"1")]
    with (
        images_build.context_tar(files) as one,
        images_build.context_tar(reversed(files)) as other,
    ):
        assert one.read() == other.read()


def test_main_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert images.main(["ensure"]) == 2
    assert "usage: python -m stacks.images ensure REF" in capsys.readouterr().err


def test_lock_makes_others_wait_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "LOCAL", tmp_path / ".crm")
    said: list[str] = []
    entered = threading.Event()
    (tmp_path / ".crm").mkdir()
    held = os.open(tmp_path / ".crm/images.lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)

    def build() -> None:
        with images_build.lock(said.append):
            entered.set()

    thread = threading.Thread(target=build)
    thread.start()
    assert not entered.wait(0.3)
    os.close(held)
    thread.join(5)
    assert entered.is_set()
    assert said == ["another process is making images in this checkout; waiting for it"]


def test_lock_sweeps_what_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "LOCAL", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    (tmp_path / "cache/tmp-debian-abc/root").mkdir(parents=True)
    (tmp_path / "cache/wheels/tmp-abc").mkdir(parents=True)
    (tmp_path / "cache/wheels/0123456789ab").mkdir()
    with images_build.lock(lambda line: None):
        left = sorted(path.name for path in (tmp_path / "cache").rglob("*"))
    assert left == ["0123456789ab", "wheels"]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a throw-away image, gone afterwards."""
    name = f"crm-local/test:{secrets.token_hex(6)}"
    yield name
    with images_build.docker_client() as client:
        if name in images_build.local_names(client):
            client.images.remove(name)


@pytest.mark.live
def test_build_tags_and_labels_and_keeps_no_proxy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary-7f3a@proxy.example:3128")
    said: list[str] = []
    context = [("Dockerfile", b"FROM scratch\nARG WHO\nLABEL who=${WHO}\nCOPY hello /\n")]
    context.append(("hello", b"hello\n"))
    labels = {"crm.production": "false", "crm.recipe": "abc"}
    with images_build.docker_client() as client:
        images_build.build(client, name, context, {"WHO": "me"}, labels, said.append)
        assert name in images_build.local_names(client)
        image = client.images.get(name)
        assert image.labels == {**labels, "who": "me"}
        assert "canary" not in f"{image.attrs}{image.history()}"
    assert images.ensure(name, said.append) == name, "what is here is neither pulled nor built"
    assert said[0] == f"building {name}"
    assert re.fullmatch(rf"built {name} in \d+ s", said[1])
    assert len(said) == 2


@pytest.mark.live
def test_build_that_fails_says_why_and_leaves_no_image(name: str) -> None:
    context = [("Dockerfile", b"FROM scratch\nCOPY absent /\n")]
    with images_build.docker_client() as client:
        with pytest.raises(CrmError, match=rf"image {name}: its build failed: .*absent"):
            images_build.build(client, name, context, {}, {}, lambda line: None)
        assert name not in images_build.local_names(client)


@pytest.mark.live
def test_ensure_of_an_unreachable_private_image_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images_build, "_unreachable", set())
    with pytest.raises(CrmError, match=r"127\.0\.0\.1:9 does not answer.*docker load.*`images`"):
        images.ensure("127.0.0.1:9/crm/nothing:1.0", lambda line: None)
    assert images_build._unreachable == {"127.0.0.1:9"}, "asked once in a run"


@pytest.mark.live
def test_report_names_what_stands_for_each_image(name: str) -> None:
    with images_build.docker_client() as client:
        context = [("Dockerfile", b"FROM scratch\nLABEL a=b\n")]
        images_build.build(client, name, context, {}, {}, lambda line: None)
    here, app, private = images.images_report([name, "crm-app:000000000000", "example.org/a:1"])
    assert (here.name, here.state) == (name, "present")
    assert (app.state, app.way) == ("missing", "built here from app/ when needed")
    assert (private.state, private.way) == ("missing", "pulled when needed")
