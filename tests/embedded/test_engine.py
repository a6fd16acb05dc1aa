"""The engine over small programs of components and dynamic resources; no Docker needed."""

import os
import signal
import subprocess
import time

import pytest

from stacks.paths import ROOT
from tests.embedded.conftest import Project
from tests.embedded.names import STACK

SHELF = """
shelf = Shelf("shelf")
one = Note("one", opts=options(parent=shelf))
two = Note("two", text=one.text, opts=options(parent=shelf, depends_on=[one]))
shelf.register_outputs({"two": two.text})
pulumi.export("key", two.key)
pulumi.export("plain", two.text)
"""


def changes(answer: dict[str, object]) -> dict[str, int]:
    """Those of the changes that are not zero."""
    assert answer.get("result") == "succeeded", answer
    counted = answer["changes"]
    assert isinstance(counted, dict)
    return {op: count for op, count in counted.items() if count}


def test_second_up_changes_nothing(project: Project) -> None:
    project.program(SHELF)
    assert changes(project.run("up")) == {"create": 4}
    before = project.log
    assert changes(project.run("up")) == {"same": 4}
    assert project.log == before == ["create one", "create two"]


def test_preview_shows_and_touches_nothing(project: Project) -> None:
    project.program(SHELF)
    answer = project.run("preview")
    assert changes(answer) == {"create": 4}
    assert answer["outputs"] == {"key": "[unknown]", "plain": "a"}
    assert project.log == []
    assert not (project.folder / "state").exists()


def test_outputs_hide_secrets_unless_asked(project: Project) -> None:
    project.program(SHELF)
    assert project.run("up")["outputs"] == {"key": "[secret]", "plain": "a"}
    assert project.run("outputs")["value"] == {"key": "[secret]", "plain": "a"}
    shown = project.run("outputs", show_secrets=True)["value"]
    assert shown == {"key": "canary-a", "plain": "a"}


def test_secrets_are_nowhere_in_plain(project: Project) -> None:
    project.program(SHELF)
    project.run("up")
    texts = [path.read_text() for path in (project.folder / "state").rglob("*") if path.is_file()]
    assert texts
    assert not [text for text in texts if "canary" in text]


def test_changed_input_updates_and_its_dependents_follow(project: Project) -> None:
    project.program(SHELF)
    project.run("up")
    project.program(SHELF.replace('Note("one"', 'Note("one", text="b"'))
    assert changes(project.run("preview")) == {"update": 2, "same": 2}
    assert changes(project.run("up")) == {"update": 2, "same": 2}
    assert project.log[2:] == ["update one", "update two"]


def test_replacement_is_created_before_the_old_one_goes(project: Project) -> None:
    project.run("up")
    project.program('Note("one", kind="y")')
    assert changes(project.run("up")) == {"replace": 1, "same": 1}
    assert project.log == ["create one", "create one", "delete one"]


def test_delete_before_replace_is_honoured(project: Project) -> None:
    project.run("up")
    project.program('Note("one", kind="y", opts=options(delete_before_replace=True))')
    assert changes(project.run("up")) == {"replace": 1, "same": 1}
    assert project.log == ["create one", "delete one", "create one"]


def test_orphans_go_last_and_after_what_needs_them(project: Project) -> None:
    project.program('a = Note("a"); b = Note("b", opts=options(depends_on=[a]))')
    project.run("up")
    project.program('Note("c")')
    assert changes(project.run("up")) == {"create": 1, "delete": 2, "same": 1}
    assert project.log[2:] == ["create c", "delete b", "delete a"]
    assert project.names() == [f"crm-{STACK}", "c"]


def test_protected_resource_is_neither_dropped_nor_replaced(project: Project) -> None:
    project.program('Note("one", opts=options(protect=True))')
    project.run("up")
    project.program('Note("one", kind="y", opts=options(protect=True))')
    assert "kind would replace the protected Note one" in project.run("up")["message"]
    project.program("")
    dropped = project.run("up")
    assert dropped["result"] == "failed"
    assert "Note one: protected" in dropped["message"]
    assert f"crm destroy {STACK} --delete-data" in dropped["message"]
    assert project.log == ["create one"]


def test_destroy_keeps_what_is_protected_and_what_that_needs(project: Project) -> None:
    project.program("""
        shelf = Shelf("shelf")
        base = Note("base")
        kept = Note("kept", opts=options(parent=shelf, protect=True, depends_on=[base]))
        Note("gone", opts=options(depends_on=[kept]))
    """)
    project.run("up")
    assert changes(project.run("destroy", preview_only=True)) == {"delete": 1}
    assert changes(project.run("destroy")) == {"delete": 1}
    assert sorted(project.names()) == ["base", f"crm-{STACK}", "kept", "shelf"]
    assert changes(project.run("destroy")) == {}
    assert changes(project.run("up")) == {"create": 1, "same": 4}
    assert changes(project.run("destroy", delete_data=True)) == {"delete": 5}
    assert not list((project.folder / "state").rglob("*.json"))


def test_destroy_that_fails_leaves_what_is_left_protected(project: Project) -> None:
    project.program("""
        key = Note("key", opts=options(protect=True))
        Note("data", kind="undeletable", opts=options(protect=True, depends_on=[key]))
    """)
    project.run("up")
    failed = project.run("destroy", delete_data=True)
    assert failed["result"] == "failed"
    assert sorted(project.names()) == [f"crm-{STACK}", "data", "key"]
    assert changes(project.run("destroy")) == {}
    assert sorted(project.names()) == [f"crm-{STACK}", "data", "key"]


def test_update_left_half_done_is_made_anew_also_after_a_refresh(project: Project) -> None:
    project.run("up")
    project.program('Note("one", text="fail")')
    assert project.run("up")["result"] == "failed"
    assert project.run("refresh")["result"] == "succeeded"
    project.program('Note("one")')
    assert changes(project.run("up")) == {"replace": 1, "same": 1}
    assert changes(project.run("up")) == {"same": 2}


def test_provider_that_raises_in_a_comparison_is_told(project: Project) -> None:
    project.run("up")
    path = project.folder / "program" / "__main__.py"
    path.write_text(path.read_text().replace("changed = [k for", "changed = olds['x'] or [k for"))
    assert project.run("up")["message"] == "Note one: KeyError: 'x'"


def test_failed_step_stops_the_rest_and_saves_what_was_done(project: Project) -> None:
    project.program("""
        one = Note("one")
        bad = Note("bad", text="fail", opts=options(depends_on=[one]))
        Note("never", opts=options(depends_on=[bad]))
    """)
    answer = project.run("up")
    assert answer["result"] == "failed"
    assert answer["message"] == "Note bad: create failed: cannot note that"
    assert project.names() == [f"crm-{STACK}", "one"]
    project.program('Note("one"); Note("bad")')
    assert changes(project.run("up")) == {"create": 1, "same": 2}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise pulumi.RunError('config: right would be x')", "config: right would be x"),
        (
            "from stacks.errors import CrmError\nraise CrmError('stack file: wrong')",
            "stack file: wrong",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Note('a').text.apply(lambda text: {}[text])", "KeyError: 'a'"),
    ],
)
def test_error_in_the_program_is_its_message(project: Project, body: str, message: str) -> None:
    project.program(body)
    answer = project.run("up")
    assert answer["result"] == "failed"
    assert message in answer["message"]
    assert "Traceback" not in answer["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('Note("a", opts=options(ignore_changes=["text"]))', "option ignoreChanges"),
        ('Note("a", opts=options(replace_on_changes=["text"]))', "option replaceOnChanges"),
        ('Note("a", opts=options(import_="x"))', "option importId"),
        ('Note("a", opts=options(aliases=[pulumi.Alias(name="b")]))', "option alias"),
        (
            'Note("a", opts=options(provider=pulumi.ProviderResource("x", "y", {})))',
            "pulumi:providers:x",
        ),
        ('pulumi.CustomResource("aws:s3/bucket:Bucket", "a", {})', "aws:s3/bucket:Bucket"),
        ('pulumi.ComponentResource("other:x:Y", "a")', "and crm: components"),
        ('pulumi.runtime.invoke("x:y:z", {}).value', "Invoke"),
        ('Note("a"); Note("a")', "registered twice"),
    ],
)
def test_what_is_not_known_is_refused_by_name(project: Project, body: str, named: str) -> None:
    project.program(body)
    answer = project.run("up")
    assert answer["result"] == "failed"
    assert named in answer["message"]


def test_config_reaches_the_program_as_the_cli_hands_it_over(project: Project) -> None:
    project.config("""
        config:
          crm:word: hello
          crm:port: 8080
          crm:on: true
          crm:orders: {count: 24, column: order_date}
    """)
    project.program("""
        import json
        config = pulumi.Config()
        pulumi.export("seen", [config.require("word"), config.require_int("port"),
                               config.require_bool("on"), config.require_object("orders")])
        pulumi.export("listed", sorted(pulumi.runtime.get_config_env()))
        Note("one")
    """)
    outputs = project.run("up")["outputs"]
    assert outputs["seen"] == ["hello", 8080, True, {"count": 24, "column": "order_date"}]
    assert outputs["listed"] == ["crm:on", "crm:orders", "crm:port", "crm:word"]


def test_secret_config_of_the_cli_is_opened_and_stays_secret(project: Project) -> None:
    project.config("""
        encryptionsalt: v1:81xFhoMrino=:v1:UIUxzYUooYyqkNl5:5f5BEtzBhyMZgrneHs4hx0b5q3rMXA==
        config:
          crm:word:
            secure: v1:SzMg9rLG31c6KLJy:G5IPI8Wgubl2FJPKP0MLV4BlHf/73j7YoH49jz22Wxc=
    """)
    program = 'pulumi.export("word", pulumi.Config().require_secret("word")); Note("one")'
    project.program(program + '\npulumi.export("env", list(pulumi.runtime.get_config_env()))')
    assert project.run("up")["outputs"] == {"word": "[secret]", "env": []}
    assert project.run("outputs", show_secrets=True)["value"]["word"] == "naïve <&> café"
    salt = project.checkpoint()["latest"]["secrets_providers"]["state"]["salt"]
    assert salt.startswith("v1:81xFhoMrino=:")


def test_wrong_passphrase_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("up")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
    assert "another passphrase" in project.run("up")["refused"]


def test_stack_of_the_cli_is_refused_until_handed_over(project: Project) -> None:
    project.run("up")
    project.run("handover", to="pulumi")
    assert project.checkpoint()["latest"]["manifest"]["version"] == ""
    assert not list((project.folder / "state").rglob("crm-embedded.json"))
    for verb in ("up", "preview", "refresh", "destroy"):
        assert f"crm handover {STACK} --to embedded" in project.run(verb)["refused"]
    project.run("handover", to="embedded")
    assert list((project.folder / "state").rglob("crm-embedded.json"))
    assert changes(project.run("up")) == {"same": 2}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_the_step_and_saves(project: Project, number: signal.Signals) -> None:
    slow = 'time.sleep(3)\n        self._log(props, "create")'
    body = 'one = Note("one"); Note("two", opts=options(depends_on=[one]))'
    project.program(body)
    path = project.folder / "program" / "__main__.py"
    path.write_text(path.read_text().replace('self._log(props, "create")', f"import time; {slow}"))
    command = project.command("up")
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        while running.stderr.readline() != "create begin one\n":
            pass
        time.sleep(0.5)
        os.kill(running.pid, number)
        output, _ = running.communicate(timeout=30)
    assert f"stopped by {number.name}" in output
    assert project.log == ["create one"]
    assert project.names() == [f"crm-{STACK}", "one"]
    assert changes(project.run("up")) == {"create": 1, "same": 2}


@pytest.mark.parametrize(
    "place", ["lock-taken", "half-written:1", "written:3", "half-written:5", "registering:3"]
)
def test_killed_up_converges(project: Project, place: str) -> None:
    project.program(SHELF)
    project.run("up", kill_at=place)
    assert project.run("up")["result"] == "succeeded"
    assert changes(project.run("up")) == {"same": 4}
    assert sorted(project.names()) == [f"crm-{STACK}", "one", "shelf", "two"]


def test_refresh_tells_drift_and_the_next_up_mends_it(project: Project) -> None:
    read = """
    def read(self, id_, props):
        from pulumi.dynamic import ReadResult
        import os
        is_gone = os.path.exists(LOG + ".gone") and open(LOG + ".gone").read() == props["name"]
        return ReadResult(None if is_gone else id_, props)

    def delete(self"""
    project.program('a = Note("a"); Note("b", opts=options(depends_on=[a]))')
    path = project.folder / "program" / "__main__.py"
    path.write_text(path.read_text().replace("\n    def delete(self", read))
    project.run("up")
    assert project.run("refresh")["drift"] == []
    (project.folder / "log.gone").write_text("a")
    assert project.run("refresh", preview_only=True)["drift"] == ["Note a: gone"]
    assert project.names() == [f"crm-{STACK}", "a", "b"]
    assert project.run("refresh")["drift"] == ["Note a: gone"]
    assert project.names() == [f"crm-{STACK}", "b"]
    assert changes(project.run("up")) == {"create": 1, "same": 2}
    assert project.log == ["create a", "create b", "create a"]
