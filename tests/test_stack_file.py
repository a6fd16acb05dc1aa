"""How stack files are found, read and refused before anything in them is looked at."""

from pathlib import Path

import pytest

from stacks import stack_file
from stacks.errors import CrmError
from stacks.paths import STACK_FILES


def write(folder: Path, stack: str, text: str) -> None:
    (folder / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")


def refusal(stack: str, folder: Path) -> str:
    with pytest.raises(CrmError) as caught:
        stack_file.load(stack, folder)
    return str(caught.value)


@pytest.mark.parametrize("stack", stack_file.names())
def test_every_stack_of_the_project_loads(stack: str) -> None:
    target = "kubernetes" if stack == "kubernetes" else "docker"
    assert stack_file.load(stack).target == target


def test_the_four_stacks_are_there() -> None:
    assert {"dev", "horizontal", "kubernetes", "vertical"} <= set(stack_file.names())


@pytest.mark.parametrize("stack", stack_file.names())
def test_sizes_and_ports_are_one_key_a_line(stack: str) -> None:
    # So that people (and sed) can change one thing.
    for line in (STACK_FILES / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8").splitlines():
        assert line.partition("#")[0].count(":") <= (2 if "crm:" in line else 1), line
        assert "{" not in line.partition("#")[0], line


def test_day_is_text_with_and_without_quotes(tmp_path: Path) -> None:
    for day in ("2026-01-05", "'2026-01-05'"):
        write(tmp_path, "sales", f"config:\n  crm:database:\n    start: {day}\n")
        assert stack_file.read("sales", tmp_path) == {"database": {"start": "2026-01-05"}}


def test_unknown_stack_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "dev", "config: {}\n")
    write(tmp_path, "sales", "config: {}\n")
    assert refusal("sale", tmp_path) == (
        "stacks/config/Pulumi.sale.yaml: there is no such stack; did you mean 'sales'? "
        "(there are: dev, sales)"
    )
    assert refusal("zzz", tmp_path).endswith("no such stack (there are: dev, sales)")


def test_unknown_stack_where_there_are_none(tmp_path: Path) -> None:
    assert refusal("dev", tmp_path).endswith("there is no such stack (there are: none)")


@pytest.mark.parametrize(
    "stack", ["a;b", "a\nb", "a}b", "{{a}}", "../dev", "Dev", "1st", "", "a" * 32, "dev\n"]
)
def test_name_that_cannot_be_a_stacks_is_refused(stack: str, tmp_path: Path) -> None:
    message = refusal(stack, tmp_path)
    assert "cannot be a stack's name; write lower-case letters" in message
    assert "\n" not in message
    with pytest.raises(CrmError, match="cannot be a stack's name"):
        stack_file.parse({}, stack)


@pytest.mark.parametrize("name", ["a;b", "a b", "a}b", "{{a}}"])
def test_file_named_for_what_cannot_be_a_stack_is_refused_by_name(
    name: str, tmp_path: Path
) -> None:
    write(tmp_path, "dev", "config: {}\n")
    write(tmp_path, name, "config: {}\n")
    with pytest.raises(CrmError) as caught:
        stack_file.names(tmp_path)
    assert f"stacks/config/Pulumi.{name}.yaml: {name!r} cannot be" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("config: [", "this is not YAML: "),
        ("config:\n\tcrm:app: 1\n", "this is not YAML: "),
        ("a: !!python/object/apply:os.getcwd []\n", "this is not YAML: "),
        ("", "`config:` is missing; write `config:` and under it crm:app …"),
        ("- config\n", "`config:` is missing"),
        ("config: 1\n", "`config:` is missing"),
        ("confg:\n  crm:app: {}\n", "`config:` is missing"),
        ("config:\n  app: {}\n", "app: keys are written with a namespace, as in crm:app"),
        ('config:\n  "a\\nb": {}\n', "keys are written with a namespace"),
        ("config:\n  crm:ap: {}\n", "crm:ap: there is no such key; did you mean `app`?"),
        ("config:\n  crm:app: {}\n  crm:app: {}\n", "crm:app: is written twice"),
        ("config:\n  crm:app:\n    port: 1\n    port: 2\n", "line 4: port: is written twice"),
        ("config: &a\n  crm:app: *a\n", "crm:app: "),
        ("config:\n  ? [a]\n  : b\n", "this is not YAML: "),
        ("2025-01-01: {}\nconfig: 2025-99-99\n", "`config:` is missing"),
    ],
)
def test_file_that_is_no_stack_file_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    write(tmp_path, "dev", text)
    message = refusal("dev", tmp_path)
    assert message.startswith("stacks/config/Pulumi.dev.yaml: ")
    assert sentence in message
    assert "\n" not in message


def test_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_bytes(b"config:\n  crm:owner: \xff\n")
    assert "stacks/config/Pulumi.dev.yaml: this is not YAML: " in refusal("dev", tmp_path)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").mkdir()
    assert refusal("dev", tmp_path) == (
        "stacks/config/Pulumi.dev.yaml: cannot be read: Is a directory"
    )


def test_values_of_others_and_secrets_are_left_alone(tmp_path: Path) -> None:
    write(
        tmp_path,
        "dev",
        "encryptionsalt: v1:x\nconfig:\n  docker:host: unix:///x\n"
        "  crm:cache_password:\n    secure: AAABAxyz\n  crm:app:\n    replicas: 2\n",
    )
    assert stack_file.read("dev", tmp_path) == {"app": {"replicas": 2}}


SECURE = "{secure: v1:abc}"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            f"  crm:app: {SECURE}\n",
            "crm:app: is encrypted, and is no secret; write it as it is, after: pulumi config rm "
            "crm:app",
        ),
        (
            f"  crm:edge: {{weights: [1, 2], algorithm: weighted}}\n  crm:app: {SECURE}\n",
            "crm:app: is encrypted, and is no secret",
        ),
        (
            f"  crm:misspelled: {SECURE}\n",
            "crm:misspelled: is encrypted, and no secret is read from it; write {config: "
            "misspelled} where the secret is asked for, or run: pulumi config rm crm:misspelled",
        ),
        (f"  crm:databas: {SECURE}\n", "read from it; did you mean `database`? Else write "),
        (
            "  crm:secrets: {cache_password: {config: redis_password}}\n"
            f"  crm:redis_pasword: {SECURE}\n",
            "did you mean `redis_password`?",
        ),
        (f"  crm:cache: {{external: {SECURE}}}\n", "crm:cache.external.secure: there is no such"),
    ],
)
def test_encrypted_value_that_no_secret_is_read_from_is_refused(
    lines: str, sentence: str, tmp_path: Path
) -> None:
    write(tmp_path, "dev", f"config:\n{lines}")
    said = refusal("dev", tmp_path)
    assert said.startswith("stacks/config/Pulumi.dev.yaml: ")
    assert sentence in said
    assert "v1:abc" not in said


def test_encrypted_value_that_a_secret_is_read_from_is_taken(tmp_path: Path) -> None:
    write(
        tmp_path,
        "dev",
        "config:\n  crm:edge:\n    tls:\n      certificate: {config: pem}\n"
        "      key: {file: key.pem}\n  crm:secrets:\n    cache_password: {config: redis_password}\n"
        f"  crm:pem: {SECURE}\n  crm:redis_password: {SECURE}\n  docker:password: {SECURE}\n",
    )
    assert stack_file.load("dev", tmp_path).edge.tls is not None


def test_anchors_may_be_used(tmp_path: Path) -> None:
    write(
        tmp_path,
        "dev",
        "config:\n  crm:edge: &small\n    memory_mib: 64\n  crm:cache:\n    <<: *small\n",
    )
    assert stack_file.load("dev", tmp_path).cache.memory_mib == 64
