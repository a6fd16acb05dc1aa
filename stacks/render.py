"""Plan + templates → {path: text}. The only Jinja environment there is.

A file's path is its template's less ``.j2``, in a folder per instance where instances differ.
Templates print values and loop over them; they compute nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import (
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    UndefinedError,
)
from jinja2.exceptions import TemplateSyntaxError
from msgspec import to_builtins

from stacks import summary
from stacks.errors import CrmError
from stacks.paths import CACHE, LOCAL, TEMPLATES
from stacks.plan import Plan
from stacks.services import ServicePlan

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Text(str):
    """Text that may hold line breaks: made by a filter, not by a person."""

    __slots__ = ()


class Renderer:
    """The Jinja environment: strict, no auto-escape (these are not HTML), cached bytecode."""

    def __init__(self, templates: Path = TEMPLATES) -> None:
        self._root = templates
        self._environment = Environment(
            loader=FileSystemLoader(templates),
            bytecode_cache=_bytecode_cache(),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 (configuration files, not HTML)
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            finalize=_finalize,
        )
        self._environment.filters["json"] = _json

    def tree(self, plan: Plan) -> dict[str, str]:
        """Every rendered file of ``plan``: path (relative, with ``/``) → text, sorted by path.

        Raises ``CrmError`` when a template is missing, broken, or names what the plan has not.
        """
        render = self._render
        files = {
            "summary.md": summary.sizes(plan),
            "topology.md": summary.topology(plan),
            "app/job.json": render("app/app.json.j2", settings=_job_settings(plan)),
            "mysql/schema.sql": render("mysql/schema.sql.j2", database=plan.database),
        }
        if plan.database.kept:
            settings = _keeper_settings(plan)
            files["app/partitions.json"] = render("app/app.json.j2", settings=settings)
        for service in plan.services:
            settings = _service_settings(plan, service)
            files[f"app/{service.name}.json"] = render("app/app.json.j2", settings=settings)
        for name in plan.edge.files:
            path = f"{plan.edge.proxy}/{name}"
            files[path] = render(f"{path}.j2", edge=plan.edge, stack=plan.stack)
        if not plan.database.external:
            for name in ("start.sh", "follow.sh"):
                files[f"mysql/{name}"] = render(f"mysql/{name}.j2", database=plan.database)
            for shard in plan.database.shards:
                files[f"mysql/{shard.name}/my.cnf"] = render(
                    "mysql/my.cnf.j2", database=plan.database, shard=shard
                )
        if plan.database.backup is not None:
            for name in ("backup.sh", "restore.sh", "rows.sql"):
                files[f"backup/{name}"] = render(f"backup/{name}.j2", database=plan.database)
            if offsite := plan.database.backup.offsite:
                settings = to_builtins(offsite.file)
                files["backup/offsite.json"] = render("backup/offsite.json.j2", settings=settings)
        if not plan.cache.external:
            files["redis/start.sh"] = render("redis/start.sh.j2", cache=plan.cache)
            for node in plan.cache.nodes:
                files[f"redis/{node.name}/redis.conf"] = render(
                    "redis/redis.conf.j2", cache=plan.cache, node=node
                )
                if plan.cache.mode == "cluster":
                    files[f"redis/{node.name}/join.sh"] = render(
                        "redis/join.sh.j2", cache=plan.cache, node=node
                    )
        return dict(sorted(files.items()))

    def _render(self, template: str, **values: object) -> str:
        try:
            return self._environment.get_template(template).render(values)
        except TemplateNotFound as error:
            raise CrmError(f"templates/{error.name}: there is no such template") from None
        except TemplateSyntaxError as error:
            name = error.name or template
            raise CrmError(f"templates/{name}:{error.lineno}: {error.message}") from None
        except Exception as error:
            # Templates can fail in any way code can; Jinja names their lines in the traceback.
            where, line = _line_of(error, self._root / template)
            hint = "; the template's first line names the type it takes"
            raise CrmError(
                f"templates/{where.relative_to(self._root).as_posix()}:{line}: "
                f"{error}{hint if isinstance(error, UndefinedError) else ''}"
            ) from None


def _line_of(error: BaseException, template: Path) -> tuple[Path, int]:
    """The file and line of the innermost template that ``error`` came through."""
    found = (template, 1)
    frame = error.__traceback__
    while frame is not None:
        path = Path(frame.tb_frame.f_code.co_filename)
        if path.suffix == template.suffix:
            found = (path, frame.tb_lineno)
        frame = frame.tb_next
    return found


Settings = dict[str, object]
"""What ``app.json`` holds, in its order; ``app/crm/settings.py`` says what each value means."""


def _service_settings(plan: Plan, service: ServicePlan) -> Settings:
    """What a service's replicas read at their start (``app/crm/settings.py`` checks it)."""
    return {
        "stack": plan.stack,
        "server": {
            "port": service.port,
            "workers": service.workers,
            "threads": service.threads,
            "body_kib": plan.edge.body_kib,
        },
        "database": {
            "buckets": plan.database.shards[-1].last_bucket + 1,
            "map_version": plan.database.map_version,
            "name": plan.database.name,
            "user": plan.database.app_user,
            "ssl_mode": plan.database.tls.ssl_mode,
            "ca": next(iter(plan.database.tls.client_secrets), None),
            "pool_size": service.threads,
            "shards": [
                {
                    "name": shard.name,
                    "host": shard.host,
                    "port": shard.port,
                    "first_bucket": shard.first_bucket,
                    "last_bucket": shard.last_bucket,
                }
                for shard in plan.database.shards
            ],
        },
        "cache": {
            "mode": plan.cache.mode,
            "nodes": [{"host": node.host, "port": node.port} for node in plan.cache.nodes],
            "ttl_seconds": plan.cache.ttl_seconds,
        },
    }


def _job_settings(plan: Plan) -> Settings:
    """What the schema job reads: the same shards, as the account that may create tables.

    Nothing of the app's own size is in it, so that resizing the app does not run the job again.
    """
    settings = _service_settings(plan, plan.app)
    database = settings["database"]
    assert isinstance(database, dict)
    return {
        **settings,
        "server": {"port": plan.app.port, "workers": 1, "threads": 1},
        "database": {**database, "user": plan.database.owner_user, "pool_size": 1},
    }


def _keeper_settings(plan: Plan) -> Settings:
    """What the keeper of partitions reads: as the schema job, and how they are to be kept."""
    kept = [{name: getattr(k, name) for name in k.__struct_fields__} for k in plan.database.kept]
    return {**_job_settings(plan), "partitions": kept}


def _bytecode_cache() -> FileSystemBytecodeCache | None:
    """Compiled templates under ``.crm/``; where that cannot be written, none."""
    folder = CACHE / "jinja"
    try:
        LOCAL.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def _finalize(value: object) -> object:
    """Refuse what must never be printed: nothing at all, and control characters."""
    if isinstance(value, StrictUndefined | _Text):
        return value
    if value is None:
        raise UndefinedError("a value that is not there would be printed as None")
    if isinstance(value, str) and _CONTROL.search(value):
        raise UndefinedError(f"{value!r} holds a control character")
    return value


def _json(value: object) -> _Text:
    return _Text(json.dumps(value, indent=2))


INDEX = ".rendered"
"""A rendered folder's own list of what was rendered into it; nothing else is ever removed."""


def write(files: Mapping[str, str], folder: Path) -> None:
    """Put ``files`` into ``folder``, and remove what an earlier call rendered and this did not.

    Files that were not rendered here are left alone. Raises ``CrmError`` when ``folder`` cannot
    be written.
    """
    try:
        before = _index(folder)
        for path in files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        for path in sorted(set(before) - set(files)):
            stale = folder / path
            if stale.resolve().is_relative_to(folder.resolve()) and stale.is_file():
                stale.unlink()
                if not any(stale.parent.iterdir()):
                    stale.parent.rmdir()
        (folder / INDEX).write_text(_lines(files), encoding="utf-8")
    except OSError as error:
        raise CrmError(
            f"{error.filename or folder}: cannot be written: {error.strerror}; "
            "name a folder with -o"
        ) from None


def difference(files: Mapping[str, str], folder: Path) -> str:
    """A unified diff from what ``folder`` holds to ``files``; empty when ``write`` would change
    nothing. Files that were not rendered into it are not looked at."""
    from difflib import unified_diff

    wanted = {**files, INDEX: _lines(files)}
    lines: list[str] = []
    for path in sorted({*wanted, *_index(folder)}):
        old = _text(folder / path)
        new = wanted.get(path)
        lines += unified_diff(
            (old or "").splitlines(keepends=True),
            (new or "").splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            "/dev/null" if new is None else f"b/{path}",
        )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _lines(files: Mapping[str, str]) -> str:
    return "".join(f"{path}\n" for path in sorted(files))


def _index(folder: Path) -> list[str]:
    return (_text(folder / INDEX) or "").splitlines()


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
