"""HTTP, shared by all areas: reading requests, problem answers, who served, the access log."""

import logging
import re
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from flask import Flask, Response, current_app, g, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import BaseConverter, ValidationError

from crm.errors import DependencyError, ProblemError
from crm.ids import MAX_ID
from crm.services import services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

access = logging.getLogger("crm.access")
log = logging.getLogger(__name__)

T = TypeVar("T")
RETRY_AFTER_SECONDS = 2
# As RFC 9110 calls it, and the edge.
TITLES = {**HTTP_STATUS_CODES, 413: "Content Too Large"}
# Not part of the service people wait for; a probe every second would drown its response times.
UNMEASURED = {"health.healthz", "health.readyz", "health.metrics", "static"}
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers then send "Origin: null" and our own forms would be refused.
    "Referrer-Policy": "same-origin",
}


class IdConverter(BaseConverter):
    """Row ids in addresses."""

    regex = r"\d{1,16}"

    def to_python(self, value: str) -> int:
        row_id = int(value)
        if row_id > MAX_ID:
            raise ValidationError
        return row_id


def answer(body: object, status: int = 200, location: str | None = None) -> Response:
    """A JSON answer."""
    response = Response(msgspec.json.encode(body), status, mimetype="application/json")
    if location is not None:
        response.location = location
    return response


def body(kind: type[T]) -> T:
    """The request's JSON as a ``kind``. 415 for another type, 400 for what does not fit."""
    if request.mimetype != "application/json":
        raise ProblemError(
            415,
            f"the body is {request.mimetype or 'of no type'}",
            field="Content-Type",
            expected="application/json",
        )
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except msgspec.ValidationError as error:
        raise misfit(error, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, "the body is no JSON", expected="a JSON object") from error


def fields(kind: type[T], given: dict[str, str]) -> T:
    """A form's or an address' fields as a ``kind``. 400 for what does not fit."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(error, kind) from error


def misfit(error: msgspec.ValidationError, kind: type[Any]) -> ProblemError:
    """The problem that names the field and, from its type, what would be right."""
    what, _, path = str(error).partition(" - at `$.")
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    missing = re.search(r"(missing required|unknown) field `(.*)`", what)
    field = missing[2] if missing else path.rstrip("`") or None
    expected = description(known[field]) if field in known else f"only {', '.join(known)}"
    if "matching regex" in what:
        what = "is not of the form expected"
    return ProblemError(400, what, field=field, expected=expected)


def description(kind: Any) -> str | None:
    """What a field's type says about itself, also when it may be left out."""
    info = msgspec.inspect.type_info(kind)
    for each in info.types if isinstance(info, msgspec.inspect.UnionType) else (info,):
        if isinstance(each, msgspec.inspect.Metadata) and each.extra_json_schema:
            return str(each.extra_json_schema["description"])
    return None


def problem(status: int, detail: str, field: str | None, expected: str | None) -> Response:
    """Problem JSON (RFC 9457) for the API, a page for people."""
    title = TITLES.get(status, "Error")
    if request.path.startswith("/api/") or request.accept_mimetypes.best == "application/json":
        members = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        members |= {"field": field} if field else {}
        members |= {"expected": expected} if expected else {}
        members["request_id"] = g.request_id
        content = msgspec.json.encode(members)
        return Response(content, status, mimetype="application/problem+json")
    page = render_template("error.html", title=title, detail=detail, expected=expected)
    return Response(page, status)


class Whole:
    """WSGI middleware: an answer leaves in one piece.

    Of one that is sent part by part, as the server does with what it has to iterate over, a proxy
    may have passed on the head when the replica is killed, and can no longer ask another one.
    Answers here are small, and in memory already but for the files of pages.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        parts = self._app(environ, start_response)
        try:
            return [b"".join(parts)]
        finally:
            if hasattr(parts, "close"):
                parts.close()


def install(app: Flask, body_kib: int) -> None:
    """Hook all of this module into an application, which takes bodies of ``body_kib`` at most."""
    app.wsgi_app = Whole(app.wsgi_app)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = 1024 * body_kib
    # A form is one of those bodies, and has no other limit.
    app.config["MAX_FORM_MEMORY_SIZE"] = 1024 * body_kib
    app.url_map.converters["id"] = IdConverter
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(ProblemError, _on_problem)
    app.register_error_handler(DependencyError, _on_dependency)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_exception)


def _begin() -> None:
    g.started = time.perf_counter()
    named = request.headers.get("X-Request-ID", "")
    well_formed = re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", named)
    g.request_id = named if well_formed else uuid.uuid4().hex
    _measure()
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        _refuse_cross_site()


def _measure() -> None:
    """Refuse too large a body that does not say its length: Werkzeug would cut it off, and go on
    with what it has."""
    if "Transfer-Encoding" in request.headers:
        largest = request.max_content_length or 0
        request.max_content_length = largest + 1
        if len(request.get_data()) > largest:
            raise RequestEntityTooLarge


def _refuse_cross_site() -> None:
    """There is no login to steal, but forms of other sites must not post here all the same.

    Browsers say where a post comes from; whoever says nothing is no browser.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        allowed = site in {"same-origin", "none"}
    else:
        allowed = origin is None or urlsplit(origin).netloc == request.host
    if not allowed:
        raise ProblemError(403, "the request comes from another site")


def _finish(response: Response) -> Response:
    seconds = time.perf_counter() - g.started
    crm = services()
    response.headers["X-Served-By"] = crm.settings.instance
    if crm.settings.is_stopping:
        # No connection is left for a load balancer to use as it is being closed.
        response.headers["Connection"] = "close"
    response.headers["X-Request-ID"] = g.request_id
    response.headers.extend(SECURITY)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    if request.endpoint not in UNMEASURED:
        route = request.url_rule.rule if request.url_rule else "unmatched"
        crm.figures.responded(request.method, route, response.status_code, seconds)
    access.info(
        "request",
        extra={
            "fields": {
                "request_id": g.request_id,
                "client": request.headers.get("X-Real-IP") or request.remote_addr,
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "bytes": response.content_length,
                "seconds": round(seconds, 6),
            }
        },
    )
    return response


def _on_problem(error: ProblemError) -> Response:
    return problem(error.status, error.detail, error.field, error.expected)


def _on_dependency(error: DependencyError) -> Response:
    response = problem(503, str(error), None, None)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _on_http(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        redirect = error.get_response()
        return current_app.make_response(redirect)
    response = problem(error.code, error.description or error.name, None, None)
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Content-Length"}:
            response.headers[name] = value
    return response


def _on_exception(error: Exception) -> Response:
    log.error("request %s failed", g.request_id, exc_info=error)
    return problem(500, InternalServerError.description or "", None, None)
