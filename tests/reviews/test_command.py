"""``crm review`` in checkouts of its own: what the page says of a change."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import Project, Run

HORIZONTAL = "stacks/config/Pulumi.horizontal.yaml"
UNTOUCHED = "untouched | Goes on as it is."


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(project: Project) -> Project:
    """A checkout with one commit, named ``base``."""
    (project.root / ".gitignore").write_text(".crm/\n__pycache__/\n")
    git(project.root, "init", "--quiet")
    commit(project, "base")
    return project


def commit(project: Project, tag: str) -> None:
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", tag)
    git(project.root, "tag", tag)


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    text: str

    @property
    def facts(self) -> dict[str, str]:
        """What is said in short, by its word."""
        return dict(re.findall(r"^- \*\*(.*):\*\* (.*)$", self.text, re.MULTILINE))

    def part(self, name: str) -> str:
        """What happens to a part."""
        found = re.findall(rf"^\| `{name}`: .*? \| (.*) \|$", self.text, re.MULTILINE)
        assert len(found) == 1, self.text
        return str(found[0])


def review(project: Project, stack: str, *more: str) -> Run:
    return project.crm("review", stack, "--against", "base", *more, DOCKER_HOST="unix:///nowhere")


def page(project: Project, stack: str) -> Page:
    run = review(project, stack)
    assert run.code == 0, run.err
    assert run.err == ""
    return Page(run.out)


# --- What the page says --------------------------------------------------------------------------


def test_more_replicas_are_started_and_the_edge_reloads(checkout: Project) -> None:
    checkout.edit(HORIZONTAL, "replicas: 3", "replicas: 6")
    found = page(checkout, "horizontal")
    short = found.facts
    cost = short.pop("Cost")
    assert re.fullmatch(
        r"\d+\.\d\d → \d+\.\d\d [A-Z]{3} a month \(\+\d+\.\d\d\), by the prices in "
        r"`stacks/prices.yaml`\.",
        cost,
    )
    assert short == {
        "What changes": "`app` goes from 3 to 6 instances; "
        "rendered files: `haproxy/haproxy.cfg`, `summary.md`.",
        "What runs": "`edge` reloads; `app` grows. Untouched: `database`, `schema`, `cache`.",
        "Interruption": "none is to be expected.",
        "Data": "not touched.",
        "Policies": "no new finding.",
    }
    assert found.part("app") == (
        "grows | Starts: `app-4`, `app-5`, `app-6`. Untouched: `app-1`, `app-2`, `app-3`."
    )
    assert found.part("database") == UNTOUCHED
    assert "| `app` | 3 | 6 | 0.5 CPU, 256 MiB | the same |" in found.text
    assert "\n6 added, 1 changed, 0 replaced, 0 deleted, " in found.text
    assert "\n+    server app-6 app-6:8000 " in found.text
    # The same again, and as a page for browsers.
    assert page(checkout, "horizontal") == found
    run = review(checkout, "horizontal", "--format", "html", "-o", "page.html")
    assert (run.code, run.out) == (0, "")
    html = (checkout.root / "page.html").read_text()
    assert html.startswith("<!doctype html>")
    assert "<strong>Interruption:</strong> none is to be expected." in html
    assert "<ins>+    server app-6 app-6:8000 " in html


def test_more_memory_restarts_the_database_over_its_data(checkout: Project) -> None:
    checkout.edit(HORIZONTAL, "memory_mib: 768", "memory_mib: 1024")
    found = page(checkout, "horizontal")
    assert found.facts["What changes"].startswith("`database` goes from 768 to 1024 MiB each; ")
    assert found.facts["Interruption"].startswith("yes, short: `database` must stop")
    assert found.facts["Data"] == "kept; the database starts again on the volumes it has."
    assert found.part("database").startswith("restarted | `database-1`, `database-2`: stopped, ")
    assert found.part("app") == UNTOUCHED
    for kind, name in (("Volume", "database-1-data"), ("Container", "app-1")):
        assert f"| {kind} | `{name}` |" not in found.text
    assert "| made anew, and the old one removed | Container | `database-1` |" in found.text
    # Both servers' files change alike, and are shown once.
    assert (
        "<code>mysql/database-1/my.cnf</code>, <code>mysql/database-2/my.cnf</code>: " in found.text
    )


def test_edited_template_reloads_the_edge_alone(checkout: Project) -> None:
    checkout.edit("templates/haproxy/haproxy.cfg.j2", "send meth GET", "send meth HEAD")
    found = page(checkout, "horizontal")
    assert found.facts["What changes"] == "rendered files: `haproxy/haproxy.cfg`."
    assert found.part("edge").startswith("reloads | ")
    for name in ("app", "database", "schema", "cache"):
        assert found.part(name) == UNTOUCHED
    assert "\n-    http-check send meth GET uri /healthz\n" in found.text
    assert "Note:" not in found.text


def test_finding_that_comes_with_the_change_is_told_first(checkout: Project) -> None:
    path = checkout.stack_file("dev")
    path.write_text(path.read_text() + "  crm:policies:\n    production: true\n")
    found = page(checkout, "dev")
    word, fact = next(iter(found.facts.items()))
    assert word == "Cannot be deployed"
    assert re.fullmatch(
        r"`crm up` will refuse it\. Policies do not allow it: \d+ mandatory findings, see below\.",
        fact,
    )
    assert "What runs" not in found.facts
    assert "| new | mandatory | `redundancy` | `app` | has 1 of the 2 replicas " in found.text
    commit(checkout, "stays")
    path.write_text(path.read_text().replace("production: true", "production: false"))
    gone = checkout.crm("review", "dev", "--against", "stays").out
    assert re.search(r"^- \*\*Policies:\*\* no new finding, \d+ of before gone\.$", gone, re.M)
    assert "| gone | mandatory | `redundancy` | `app` | " in gone


def test_other_number_of_shards_is_refused_and_touches_no_data(checkout: Project) -> None:
    checkout.edit(HORIZONTAL, "shards: 2", "shards: 1")
    found = page(checkout, "horizontal")
    assert "1 shard in the place of 2: 32 of 64 " in found.facts["Cannot be deployed"]
    assert found.facts["Data"] == "not touched, since the change is refused."


def test_other_target_is_refused(checkout: Project) -> None:
    checkout.edit("stacks/config/Pulumi.dev.yaml", "target: docker", "target: kubernetes")
    found = page(checkout, "dev")
    assert "`docker` and this change moves it to `kubernetes`" in found.facts["Cannot be deployed"]


def test_new_stack_is_all_new(checkout: Project) -> None:
    path = checkout.stack_file("sales")
    path.write_text(checkout.stack_file("dev").read_text())
    found = page(checkout, "sales")
    assert found.facts["What changes"] == "this stack is new; all of it is made."
    assert found.facts["Data"] == "starts empty, on 1 new volume."
    assert found.part("app") == "new | Starts: `app-1`."
    assert ", 0 changed, 0 replaced, 0 deleted, 0 unchanged.\n" in found.text


def test_removed_stack_says_that_nothing_takes_it_down(checkout: Project) -> None:
    checkout.stack_file("dev").unlink()
    found = page(checkout, "dev")
    assert found.facts["What changes"] == "this stack is removed from the project."
    assert "removing the file takes nothing down. Run `crm destroy dev` " in found.facts["Data"]
    assert found.part("database") == "removed | Stops for good: `database-1`."
    assert "| removed | Volume | `database-1-data` |" not in found.text


def test_older_code_is_not_asked_and_the_page_says_so(checkout: Project) -> None:
    (checkout.root / "stacks" / "reviews" / "side.py").rename(checkout.root / "kept")
    commit(checkout, "older")
    (checkout.root / "kept").rename(checkout.root / "stacks" / "reviews" / "side.py")
    checkout.edit(HORIZONTAL, "replicas: 3", "replicas: 4")
    checkout.edit("templates/haproxy/haproxy.cfg.j2", "send meth GET", "send meth HEAD")
    run = checkout.crm("review", "horizontal", "--against", "older")
    assert "\nNote: the project's code there cannot describe a stack for this page: " in run.out
    assert "\n- **What changes:** `app` goes from 3 to 4 instances; " in run.out
    assert "meth GET" not in run.out


def test_page_of_a_stack_that_stays_as_it_is_ends_early(checkout: Project) -> None:
    checkout.edit(HORIZONTAL, "replicas: 3", "replicas: 4")
    found = page(checkout, "dev")
    assert found.facts["What changes"] == "nothing of what runs, for this stack."
    assert found.facts["What runs"] == "everything goes on as it is."
    assert "\n## In short\n" in found.text
    assert found.text.count("\n## ") == 1


# --- Refusals ------------------------------------------------------------------------------------


def test_commit_that_git_does_not_know_is_refused(checkout: Project) -> None:
    for ref in ("nowhere", "--output=x"):
        run = checkout.crm("review", "dev", f"--against={ref}")
        assert (run.code, run.out) == (1, "")
        assert run.err.startswith(f"error: --against {ref}: git knows no such commit; write a ")


def test_folder_without_git_is_refused(project: Project) -> None:
    run = project.crm(
        "review", "dev", "--against", "main", GIT_CEILING_DIRECTORIES=str(project.root)
    )
    assert (run.code, run.out) == (1, "")
    assert "is no git checkout, so there is nothing to compare with" in run.err


def test_stack_that_neither_side_has_is_refused(checkout: Project) -> None:
    run = review(checkout, "sales")
    assert run.code == 1
    assert run.err.startswith("error: stacks/config/Pulumi.sales.yaml: there is no such stack")


def test_wrong_file_there_is_refused_with_its_commit(checkout: Project) -> None:
    checkout.edit(HORIZONTAL, "replicas: 3", "replicas: 0")
    commit(checkout, "wrong")
    checkout.edit(HORIZONTAL, "replicas: 0", "replicas: 3")
    run = checkout.crm("review", "horizontal", "--against", "wrong")
    assert run.code == 1
    assert re.match(
        r"error: at [0-9a-f]{12}: stacks/config/Pulumi.horizontal.yaml: crm:app.replicas", run.err
    )


def test_file_that_cannot_be_written_is_refused(checkout: Project) -> None:
    run = review(checkout, "dev", "-o", "none/page.md")
    assert run.code == 1
    assert "none/page.md: cannot be written: No such file or directory; name another" in run.err


def test_code_that_fails_there_is_not_asked_either(checkout: Project) -> None:
    path = checkout.root / "stacks" / "reviews" / "side.py"
    now = path.read_text()
    path.write_text("import of_a_package_that_is_gone\n")
    commit(checkout, "failing")
    path.write_text(now)
    run = checkout.crm("review", "dev", "--against", "failing")
    assert run.code == 0, run.err
    assert "\nNote: the project's code there cannot describe a stack for this page: " in run.out
