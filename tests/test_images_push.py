"""``crm images push``: what goes into a registry, with a registry that is a few lines of Python."""

import hashlib
import io
import re
import secrets
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import docker
import pytest

from stacks import images, images_push, stack_file
from stacks.errors import CrmError
from tests import project as projects


class Registry(BaseHTTPRequestHandler):
    """As much of the distribution protocol as a push needs
    (https://distribution.github.io/distribution/spec/api/)."""

    protocol_version = "HTTP/1.1"
    address = ""
    manifests: dict[str, bytes]
    blobs: dict[str, int]
    status = 0

    def _answer(self, status: int, size: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/v2/" else 404)

    def do_HEAD(self) -> None:
        digest = self.path.rpartition("/")[2]
        size = self.blobs.get(digest)
        if size is None:
            self._answer(404)
        else:
            self._answer(200, size, Docker_Content_Digest=digest)

    def do_POST(self) -> None:
        self._body()
        if self.status:
            self._answer(self.status)
        else:
            self._answer(202, Location=f"{self.path}{secrets.token_hex(4)}", Range="0-0")

    def do_PATCH(self) -> None:
        size = self.blobs[self.path] = len(self._body())
        self._answer(202, Location=self.path, Range=f"0-{max(0, size - 1)}")

    def do_PUT(self) -> None:
        content, (path, _, query) = self._body(), self.path.partition("?")
        if "/manifests/" in path:
            self.manifests[path] = content
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        else:
            digest = parse_qs(query)["digest"][0]
            self.blobs[digest] = self.blobs.get(path, 0) + len(content)
        self._answer(201, Docker_Content_Digest=digest)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    """A registry on this machine; ``address`` is where."""

    class Mine(Registry):
        manifests: dict[str, bytes] = {}  # noqa: RUF012
        blobs: dict[str, int] = {}  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        Mine.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Mine
        server.shutdown()
        thread.join()


@pytest.fixture
def image() -> Iterator[str]:
    """A tiny image of this test's own."""
    client = docker.from_env()
    name = f"crm-test-push-{secrets.token_hex(6)}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    client.api.import_image_from_data(buffer.getvalue(), name, "1")
    yield f"{name}:1"
    # Not images.list(): it looks at each, and fails where another test has removed one meanwhile.
    for tag in [t for i in client.api.images() for t in i["RepoTags"] or () if name in t]:
        client.images.remove(tag)


@pytest.mark.live
def test_image_arrives_in_the_registry(registry: type[Registry], image: str) -> None:
    reference = f"{registry.address}/team/{image}"
    assert images_push._push(image, reference)
    assert list(registry.manifests) == [f"/v2/team/{image.replace(':', '/manifests/')}"]


@pytest.mark.live
def test_registry_that_refuses_is_a_sentence(registry: type[Registry], image: str) -> None:
    registry.status = 403
    host = registry.address
    with pytest.raises(CrmError, match=f"{host} does not take it .*docker login {host}") as refused:
        images_push._push(image, f"{host}/team/{image}")
    assert "\n" not in str(refused.value)


def test_stand_in_is_not_pushed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "ensure", lambda *_: "crm-local/nginx:0123456789ab")
    assert not images_push._push("nginx:1.30.0", "registry.example.com/nginx:1.30.0")
    assert "not for production" in capsys.readouterr().err


def test_image_named_by_digest_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    digest = f"nginx@sha256:{'0' * 64}"
    assert not images_push._push(digest, f"registry.example.com/{digest}")
    assert "left out" in capsys.readouterr().err


def test_images_of_the_registry_are_found_and_others_are_not(
    project: projects.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = "registry.example.com/team"
    named = f"  crm:images:\n    registry: {registry}\n    redis: quay.io/r/redis:8.2.1\n"
    project.edit("stacks/config/Pulumi.kubernetes.yaml", "  crm:edge:", f"{named}  crm:edge:")
    load, folder = stack_file.load, project.root / "stacks" / "config"
    monkeypatch.setattr(stack_file, "load", lambda stack: load(stack, folder))
    wanted = images_push._wanted("kubernetes")
    app = images.app_reference()
    assert wanted == {
        app: f"{registry}/{app}",
        "haproxy:3.2.4": f"{registry}/haproxy:3.2.4",
        "mysql:8.4.6": f"{registry}/mysql:8.4.6",
    }


def test_without_a_registry_it_says_what_to_write(project: projects.Project) -> None:
    done = project.crm("images", "push", "kubernetes")
    assert done.code == 1
    assert re.search(
        r"error: .*crm:images\.registry: not written.*registry\.example\.com", done.err
    )
    assert project.crm("images", "push").code == 1
