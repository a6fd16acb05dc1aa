"""A secret is where it is used and nowhere else; one can be changed while the stack runs."""

from __future__ import annotations

import base64
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import docker
import pytest

from stacks import images, plan, stack_file
from tests.live import own, places
from tests.live.client import call
from tests.live.stack import LABEL, Stack, prepare
from tests.live.traffic import Request, load
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

NAMES = (
    "cache_password",
    "database_app_password",
    "database_owner_password",
    "database_root_password",
)
AWKWARD = " '\"\\ $(id) $HOME `id` &%+/=#;!*?~|<>{}[]^,:@-- \\"
"""Put around every canary: what shells, SQL, my.cnf, redis.conf and URLs give a meaning to."""
BY_ENV = {"cache_password": "CRM_TEST_CACHE", "database_app_password": "CRM_TEST_APP"}


OLD_SECONDS = 75
"""How long the database takes a password that was changed, in the stack of these tests."""


def canary() -> str:
    return secrets.token_hex(16)


@dataclass
class Referenced:
    """A ``dev`` stack that takes all four secrets from elsewhere, and what it ever printed."""

    stack: Stack
    folder: Path
    cores: dict[str, str]
    printed: list[tuple[str, bytes]] = field(default_factory=list)
    command_lines: dict[str, bytes] = field(default_factory=dict)

    def secret(self, name: str) -> str:
        return f"{AWKWARD}{self.cores[name]}{AWKWARD}"

    def crm(self, verb: str, *arguments: str) -> None:
        """Run a verb, which must succeed, with the secrets in place; keep what it printed."""
        for name in NAMES:
            (self.folder / name).write_text(self.secret(name) + "\n", encoding="utf-8")
        environment = {variable: self.secret(name) for name, variable in BY_ENV.items()}
        with places.command_lines() as seen:
            done = self.stack.crm(verb, *arguments, **environment)
        self.command_lines.update(seen)
        said = (done.out + done.err).encode()
        self.printed.append((f"crm {verb} {' '.join(arguments)}", said))
        assert done.code == 0, done.err + done.out

    def refer(self, name: str) -> str:
        """The stack file's reference to a secret."""
        if name in BY_ENV:
            return f"    {name}: {{env: {BY_ENV[name]}}}\n"
        return f"    {name}: {{file: {self.folder / name}}}\n"

    def everywhere(self) -> Iterator[tuple[str, bytes]]:
        yield from self.printed
        yield from self.command_lines.items()
        yield from places.files(self.stack.project.root)
        yield from places.docker_says(self.stack.name)


@pytest.fixture(scope="module")
def referenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Referenced]:
    """Deployed once for this file; its tests change its secrets."""
    stack = prepare(tmp_path_factory.mktemp("referenced") / "project", "dev")
    stack.project.edit("stacks/plan.py", "ROLL_SECONDS = 3600", f"ROLL_SECONDS = {OLD_SECONDS}")
    folder = tmp_path_factory.mktemp("secrets")
    made = Referenced(stack, folder, {name: canary() for name in NAMES})
    references = "".join(made.refer(name) for name in NAMES)
    stack.edit("  crm:target: docker\n", f"  crm:target: docker\n  crm:secrets:\n{references}")
    try:
        made.crm("preview")
        made.crm("up", "--yes")
        yield made
    finally:
        made.crm("destroy", "--yes", "--delete-data")
    assert places.found(made.printed, made.cores) == []


def in_use(stack: Stack, name: str) -> str:
    """The secret as a container that uses it has it."""
    container = "cache-1" if name == "cache_password" else "database-1"
    return stack.execute(container, "cat", f"/etc/crm/secrets/{name}")


def opens(stack: Stack, user: str, password: str) -> bool:
    """Whether the database lets ``user`` in over TCP, as the app comes in."""
    # A variable of the client's process: only this test's own container sees it.
    client = ("mysql", "-h127.0.0.1", f"-u{user}", "-e", "SELECT 1")
    code, said = own.ask(stack.container("database-1"), *client, MYSQL_PWD=password)
    assert code == 0 or "ERROR 1045" in said, said
    return code == 0


def works(stack: Stack) -> None:
    """The CRM writes, reads, and reads again through the cache."""
    assert call(f"{stack.url}/readyz").status == 200
    body = {"name": "U", "email": "u@example.org", "role": "sales"}
    user = call(f"{stack.url}/api/v1/users", "POST", body).json["id"]
    for _ in range(2):
        assert call(f"{stack.url}/api/v1/users/{user}").json["role"] == "sales"
    assert stack.redis("cache-1", "DBSIZE").strip() != "0"


def test_awkward_characters_arrive_unharmed(referenced: Referenced) -> None:
    stack = referenced.stack
    for name in NAMES:
        assert in_use(stack, name) == referenced.secret(name), name
    works(stack)
    for user, name in (
        ("crm_app", "database_app_password"),
        ("crm_owner", "database_owner_password"),
    ):
        assert opens(stack, user, referenced.secret(name))
        assert not opens(stack, user, referenced.secret(name) + "x")
    assert stack.redis("cache-1", "PING").strip() == "PONG"
    refused = stack.execute("cache-1", "sh", "-c", "REDISCLI_AUTH=wrong redis-cli PING 2>&1")
    assert "NOAUTH" in refused or "WRONGPASS" in refused


def test_referenced_secrets_are_nowhere_else(referenced: Referenced) -> None:
    project = referenced.stack.project
    for verb in ("render", "check", "preview", "up", "refresh", "outputs"):
        yes = ["--yes"] if verb in ("up", "refresh") else []
        referenced.crm(verb, *yes)
        if verb not in ("render", "check"):
            referenced.crm(verb, "--json", *yes)
    searched = dict(referenced.everywhere())
    root = project.root
    state = str(root / ".crm/state/.pulumi/stacks/crm" / f"{referenced.stack.name}.json")
    # That they are looked for where they could be:
    assert b"ciphertext" in searched[state]
    assert any(f"/{name}/" in place for place in searched for name in ("nginx", "redis", "mysql"))
    assert any(place.startswith("log of /crm-") for place in searched)
    for process in ("mysqld", "schema", "redis-server", "stacks.cli"):
        assert any(process in line for line in referenced.command_lines), process
    assert places.found(searched.items(), referenced.cores) == []


def test_app_image_holds_no_secret(referenced: Referenced) -> None:
    reference = images.app_reference(referenced.stack.project.root)
    searched = list(places.image(reference))
    assert any(place.endswith("crm/serve.py") for place, _ in searched)
    assert places.found(searched, referenced.cores) == []


def test_generated_secrets_are_nowhere_else(dev: Stack) -> None:
    values = {name: in_use(dev, name) for name in NAMES}
    assert len(set(values.values())) == len(NAMES)
    assert all(len(value) == 32 for value in values.values())
    printed: list[tuple[str, bytes]] = []
    with places.command_lines() as seen:
        for verb in (["preview"], ["up", "--yes"], ["refresh", "--yes"], ["outputs"], ["render"]):
            for form in ([], ["--json"]) if verb != ["render"] else ([],):
                done = dev.crm(*verb, *form)
                assert done.code == 0, done.err
                printed.append((" ".join([*verb, *form]), (done.out + done.err).encode()))
    searched = [
        *printed,
        *seen.items(),
        *places.files(dev.project.root),
        *places.docker_says(dev.name),
        *places.image(images.app_reference(dev.project.root)),
    ]
    assert places.found(searched, values) == []


def test_changed_references_are_taken_up_by_what_uses_them(referenced: Referenced) -> None:
    stack = referenced.stack
    old = {name: referenced.secret(name) for name in NAMES}
    customer = call(
        f"{stack.url}/api/v1/customers", "POST", {"name": "Stays", "email": "s@example.org"}
    ).json["id"]
    before = {name: container.id for name, container in stack.containers().items()}
    referenced.cores.update({name: canary() for name in NAMES})
    referenced.crm("up", "--yes")
    after = {name: container.id for name, container in stack.containers().items()}
    assert {name for name in after if after[name] == before[name]} == {"edge"}
    for name in NAMES:
        assert in_use(stack, name) == referenced.secret(name), name
    assert opens(stack, "crm_app", referenced.secret("database_app_password"))
    assert not opens(stack, "crm_app", old["database_app_password"])
    assert not opens(stack, "crm_owner", old["database_owner_password"])
    assert call(f"{stack.url}/api/v1/customers/{customer}").json["name"] == "Stays"
    works(stack)
    assert places.found(referenced.everywhere(), referenced.cores) == []


@pytest.mark.alone
def test_password_is_rotated_under_load_with_both_valid_meanwhile(referenced: Referenced) -> None:
    stack, name = referenced.stack, "database_app_password"
    old = referenced.secret(name)
    before = {name: one.attrs["State"]["StartedAt"] for name, one in stack.containers().items()}
    referenced.cores[name] = canary()
    body = {"name": "Rotated", "email": "rotated@example.org"}
    with load(stack.url, lambda _: Request("/api/v1/customers", "POST", body), clients=2) as seen:
        referenced.crm("up", "--yes")
        assert opens(stack, "crm_app", referenced.secret(name))
        assert opens(stack, "crm_app", old)
        # Nobody has it any more: all replicas are new.
        wait_until(lambda: not opens(stack, "crm_app", old), "it goes", OLD_SECONDS + 30)
    assert seen.failures == []
    assert seen.sent > 100
    after = {name: one.attrs["State"]["StartedAt"] for name, one in stack.containers().items()}
    assert {name for name in after if after[name] != before[name]} == {"app-1"}
    assert in_use(stack, name) == referenced.secret(name)
    works(stack)
    assert places.found(referenced.everywhere(), referenced.cores) == []


def test_one_changed_secret_leaves_others_users_alone(referenced: Referenced) -> None:
    stack = referenced.stack
    before = {name: container.id for name, container in stack.containers().items()}
    referenced.cores["cache_password"] = canary()
    referenced.crm("up", "--yes")
    after = {name: container.id for name, container in stack.containers().items()}
    assert {name for name in after if after[name] == before[name]} == {"edge", "database-1"}
    works(stack)


def test_from_referenced_to_generated_and_back(referenced: Referenced) -> None:
    stack = referenced.stack
    name = "database_app_password"
    line = referenced.refer(name)
    stack.edit(line, "")
    try:
        referenced.crm("up", "--yes")
        generated = in_use(stack, name)
        assert len(generated) == 32
        assert generated.replace("-", "").replace("_", "").isalnum()
        assert opens(stack, "crm_app", generated)
        works(stack)
    finally:
        stack.edit("  crm:secrets:\n", f"  crm:secrets:\n{line}")
    referenced.crm("up", "--yes")
    assert in_use(stack, name) == referenced.secret(name)
    assert opens(stack, "crm_app", referenced.secret(name))
    works(stack)
    assert places.found(referenced.everywhere(), {**referenced.cores, "generated": generated}) == []


def test_what_no_service_could_be_given_is_refused(referenced: Referenced) -> None:
    stack = referenced.stack
    file = referenced.folder / "database_root_password"
    environment = {variable: referenced.secret(name) for name, variable in BY_ENV.items()}
    before = stack.project.stack_file(stack.name).read_bytes(), stack.objects()
    core = canary()
    for content in (b"", b"two\nlines", b"tab\t", core.encode() + b"\xff", "é".encode() * 9):
        file.write_bytes(content)
        done = stack.crm("up", "--yes", **environment)
        assert done.code == 1
        assert f"the file {file}: the secret database_root_password" in done.err
        assert "Traceback" not in done.err
        assert places.found([("output", (done.out + done.err).encode())], {"it": core}) == []
    file.unlink()
    done = stack.crm("up", "--yes", **environment)
    assert done.code == 1
    assert f"the file {file}: the secret database_root_password cannot be read" in done.err
    del environment["CRM_TEST_APP"]
    (referenced.folder / "database_root_password").write_text("x", encoding="utf-8")
    done = stack.crm("up", "--yes", **environment)
    assert done.code == 1
    assert "the environment's CRM_TEST_APP: the secret database_app_password" in done.err
    assert (stack.project.stack_file(stack.name).read_bytes(), stack.objects()) == before
    works(stack)


# --- The searcher itself -------------------------------------------------------------------------

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "in JSON": json.dumps,
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "URL": lambda text: quote(text, safe=""),
    **{
        f"base64 at {offset}": lambda text, offset=offset: base64.b64encode(  # type: ignore[misc]  # mypy infers no lambda's default
            b"p" * offset + text.encode()
        ).decode()
        for offset in range(3)
    },
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", ["", AWKWARD])
def test_searcher_knows_every_form(form: str, around: str) -> None:
    core = canary()
    written = FORMS[form](f"{around}{core}{around}")
    place = [("there", f"before {written} after".encode())]
    assert places.found(place, {"it": core}) == ["it in there"]
    assert places.found(place, {"other": canary()}) == []


def test_searcher_finds_what_is_planted_in_files_and_command_lines(tmp_path: Path) -> None:
    core = canary()
    hidden = tmp_path / ".crm" / "state" / ".hidden"
    hidden.parent.mkdir(parents=True)
    hidden.write_text(f'{{"x": "{core}"}}', encoding="utf-8")
    assert places.found(places.files(tmp_path), {"it": core}) == [f"it in {hidden}"]
    with places.command_lines() as seen:
        subprocess.run(["sh", "-c", "sleep 3; exit 0", core], check=True)
    assert any(core in hit for hit in places.found(seen.items(), {"it": core}))


def test_searcher_finds_what_is_planted_in_docker() -> None:
    client = docker.from_env()
    cores = {place: canary() for place in ("env", "log", "volume", "network")}
    stack = f"planted{secrets.token_hex(3)}"
    labels = {LABEL: stack}
    base = images.ensure(plan_image(), print)
    with ExitStack() as planted:
        volume = client.volumes.create(f"crm-{stack}", labels={**labels, "x": cores["volume"]})
        planted.callback(volume.remove)
        network = client.networks.create(f"crm-{stack}", labels={**labels, "x": cores["network"]})
        planted.callback(network.remove)
        container = client.containers.create(
            base,
            name=f"crm-{stack}",
            labels=labels,
            entrypoint=["sh", "-c", 'cat "$0"', "/proc/self/environ"],
            command=[],
            environment={"X": cores["env"], "Y": cores["log"]},
        )
        planted.callback(container.remove, force=True)
        container.start()
        container.wait(timeout=60)
        hits = places.found(places.docker_says(stack), cores)
    name = f"/crm-{stack}"
    assert f"env in inspect of {name}" in hits
    assert f"log in log of {name}" in hits
    assert f"volume in inspect of {name[1:]}" in hits
    assert f"network in inspect of {name[1:]}" in hits


def test_searcher_finds_what_is_planted_in_an_image() -> None:
    client = docker.from_env()
    cores = {place: canary() for place in ("layer", "gone", "history", "nested")}
    reference = f"crm-test-planted:{secrets.token_hex(6)}"
    nested = packed({"deep": cores["nested"].encode()}, "w:gz")
    context = packed(
        {
            "Dockerfile": (
                b"FROM scratch\nCOPY one gone inner.tar.gz /\n"
                # A later layer hides the earlier one's content, which is there all the same.
                b"COPY empty /gone\n" + f"LABEL x={cores['history']}\n".encode()
            ),
            "one": b"before " + base64.b64encode(cores["layer"].encode()),
            "gone": cores["gone"].encode(),
            "empty": b"",
            "inner.tar.gz": nested,
        },
        "w",
    )
    client.images.build(fileobj=io.BytesIO(context), custom_context=True, tag=reference, rm=True)
    try:
        hits = places.found(places.image(reference), cores)
    finally:
        client.images.remove(reference)
    assert {hit.partition(" in ")[0] for hit in hits} == set(cores)
    assert any(hit.startswith("history in history of") for hit in hits)
    assert any(hit.endswith("/deep") for hit in hits)


def packed(contents: dict[str, bytes], mode: Literal["w", "w:gz"]) -> bytes:
    """A tar of ``contents``, name → bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def plan_image() -> str:
    """An image every stack needs, so that it is here."""
    return plan.make("dev", stack_file.load("dev")).cache.image
