"""The ``crm`` command. Each verb imports only what it needs, so that rendering stays instant."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from stacks.errors import CrmError

_ENGINES = ("auto", "pulumi", "embedded")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crm", description="A CRM platform from one stack file.")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    render = verbs.add_parser("render", help="write the files a stack would run with, for review")
    render.add_argument("stack", nargs="?", help="a stack; or --all")
    render.add_argument("--all", action="store_true", help="every stack, each in its own folder")
    render.add_argument(
        "-o",
        dest="folder",
        type=Path,
        help="the folder; with --all, the one that holds a folder for each stack "
        "(default: .crm/rendered, or tests/golden with --check)",
    )
    render.add_argument(
        "--target",
        choices=("docker", "kubernetes"),
        help="as if the stack file named it; kubernetes writes the manifests too",
    )
    render.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit 1 with a diff if the folder differs",
    )
    render.set_defaults(run=_render, usage=render.error)

    for name, help_ in (
        ("preview", "show what `up` would change; change nothing"),
        ("up", "make what runs equal to the stack file"),
        ("refresh", "compare the state with what really runs, and correct the state"),
        ("destroy", "remove what runs; data volumes and their credentials are kept"),
    ):
        verb = verbs.add_parser(name, help=help_)
        _deployment_options(verb)
        if name != "preview":
            verb.add_argument("-y", "--yes", action="store_true", help="do not ask")
        if name == "destroy":
            verb.add_argument(
                "--delete-data", action="store_true", help="the data and its credentials as well"
            )
        verb.set_defaults(run=_deploy, verb=name, delete_data=False)

    outputs = verbs.add_parser("outputs", help="what the stack offers: its URL and more")
    _deployment_options(outputs)
    outputs.set_defaults(run=_outputs)

    handover = verbs.add_parser("handover", help="give a stack to the other engine")
    handover.add_argument("stack")
    handover.add_argument("--to", required=True, choices=_ENGINES[1:])
    handover.set_defaults(run=_handover)

    check = verbs.add_parser("check", help="every check of a stack that needs no deployment")
    check.add_argument("stack", nargs="?", help="a stack; or --sql")
    check.add_argument(
        "--sql",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="partition DDL in files: what MySQL would refuse, and what would be right",
    )
    check.add_argument("--json", action="store_true", help="with --sql: one JSON object")
    check.add_argument(
        "--sarif", type=Path, metavar="FILE", help="also write findings for code hosts: SARIF 2.1.0"
    )
    check.add_argument(
        "--junit", type=Path, metavar="FILE", help="also write them as test results: JUnit's XML"
    )
    check.set_defaults(run=_check, usage=check.error)

    review = verbs.add_parser("review", help="what a change means for a stack, on one page")
    review.add_argument("stack")
    review.add_argument(
        "--against", required=True, metavar="REF", help="what to compare with, such as origin/main"
    )
    review.add_argument("--format", choices=("markdown", "html"), default="markdown")
    review.add_argument("-o", dest="file", type=Path, help="the file (default: standard output)")
    review.set_defaults(run=_review)

    partitions = verbs.add_parser(
        "partitions", help="what a stack's range partitions need: said, or done"
    )
    partitions.add_argument("action", choices=("plan", "apply"))
    partitions.add_argument("stack")
    partitions.add_argument(
        "-y", "--yes", action="store_true", help="also what deletes rows, or copies many"
    )
    partitions.set_defaults(run=_partitions)

    images = verbs.add_parser(
        "images",
        help="which image each workload uses; `build` makes them, `push` puts a stack's into its "
        "registry",
    )
    images.add_argument("what", nargs="*", help="`build` or `push`, and stacks (default: all)")
    images.add_argument("--json", action="store_true", help="one JSON object on standard output")
    images.set_defaults(run=_images)

    shards = verbs.add_parser("shards", help="`plan`: what another number of shards would move")
    shards.add_argument("what", choices=("plan",))
    shards.add_argument("stack")
    shards.add_argument("--shards", type=int, metavar="N", help="instead of the stack file's own")
    shards.add_argument("--json", action="store_true", help="one JSON object on standard output")
    shards.set_defaults(run=_shards)
    _backup_verbs(verbs)
    return parser


def _backup_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, help_ in (
        ("backup", "back up every shard now"),
        ("backups", "list the backups of every shard"),
        ("drill", "restore the newest backups to a throw-away server and compare"),
        ("restore", "bring the shards back to what they were at a time"),
    ):
        verb = verbs.add_parser(name, help=help_)
        verb.add_argument("stack")
        verb.add_argument("--shard", help="this one alone, such as database-1")
        verb.add_argument("--json", action="store_true", help="one JSON object on standard output")
        verb.set_defaults(run=_backups, verb=name)
        if name == "restore":
            verb.add_argument(
                "--to", required=True, metavar="TIME", help="in UTC, such as 2026-01-31T23:59:59Z"
            )
            verb.add_argument(
                "-y", "--yes", action="store_true", help="do it; else only say what would be done"
            )


def _deployment_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stack")
    parser.add_argument("--engine", choices=_ENGINES, default="auto", help="default: auto")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _render(options: argparse.Namespace) -> int:
    from stacks import plan, render, review, stack_file
    from stacks.paths import GOLDEN, LOCAL

    if options.all == bool(options.stack):
        options.usage("name one stack, or --all")
    stacks = stack_file.names() if options.all else [options.stack]
    renderer = render.Renderer()
    # All of them before any is written: one that is refused leaves everything as it was.
    trees = {
        s: review.tree(renderer, plan.make(s, stack_file.load(s, target=options.target)))
        for s in stacks
    }
    differing, again = [], "the same command without --check"
    for stack, files in trees.items():
        if options.folder is None:
            folder = (GOLDEN if options.check else LOCAL / "rendered") / stack
        else:
            folder = options.folder / stack if options.all else options.folder
        shown = os.path.relpath(folder) if options.folder is None else folder
        if not options.check:
            render.write(files, folder)
            print(f"{stack}: {len(files)} files in {shown}", file=sys.stderr)
        elif diff := render.difference(files, folder):
            differing.append(f"{shown} differs from what {stack} renders")
            if folder.resolve().is_relative_to(GOLDEN) and options.target is None:
                again = "make golden"
            sys.stdout.write(diff)
    if differing:
        raise CrmError(f"{'; '.join(differing)}; if the diff is right, refresh with: {again}")
    return 0


def _deploy(options: argparse.Namespace) -> int:
    from stacks import deploy

    return deploy.run(
        options.verb,
        options.stack,
        engine=options.engine,
        as_json=options.json,
        yes=getattr(options, "yes", True),
        delete_data=options.delete_data,
    )


def _outputs(options: argparse.Namespace) -> int:
    from stacks import deploy

    return deploy.outputs(options.stack, engine=options.engine, as_json=options.json)


def _handover(options: argparse.Namespace) -> int:
    from stacks import engines

    print(engines.hand_over(options.stack, options.to))
    return 0


def _check(options: argparse.Namespace) -> int:
    if bool(options.stack) == bool(options.sql):
        options.usage("name one stack, or files after --sql")
    if options.sql:
        from stacks.sql_lint import report

        return report.run(options.sql, options.json, options.sarif, options.junit)
    if options.json:
        options.usage("--json goes with --sql")
    from stacks import check

    return check.run(options.stack, options.sarif, options.junit)


def _review(options: argparse.Namespace) -> int:
    from stacks.reviews import command

    return command.run(options.stack, options.against, options.format, options.file)


def _partitions(options: argparse.Namespace) -> int:
    from stacks import partitions_command

    return partitions_command.run(options.action, options.stack, options.yes)


def _images(options: argparse.Namespace) -> int:
    from stacks import images_command, images_push

    if options.what[:1] == ["push"]:
        return images_push.run(options.what[1:], options.json)
    build = options.what[:1] == ["build"]
    return images_command.run(options.what[1:] if build else options.what, build, options.json)


def _shards(options: argparse.Namespace) -> int:
    from stacks import shards_command

    return shards_command.run(options.stack, options.shards, options.json)


def _backups(options: argparse.Namespace) -> int:
    from stacks import backups

    stack, shard, as_json = options.stack, options.shard, options.json
    if options.verb == "restore":
        return backups.restore(stack, options.to, shard, yes=options.yes, as_json=as_json)
    run = {"backup": backups.back_up, "backups": backups.show, "drill": backups.drill}
    return run[options.verb](stack, shard, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
