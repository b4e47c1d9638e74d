"""Every error as `application/problem+json` (RFC 9457): the one place where errors become answers.

What went wrong on our side is never told: the log says it. The messages of MeshErrors are our own
and hold nothing of what was sent; those of other errors may, so they are not logged.
"""

from typing import Final

import orjson
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gateway.exchanges import current
from mesh.errors import InputError, MeshError, Overloaded
from mesh.telemetry import origin

log = structlog.stdlib.get_logger("gateway")

CONTENT_TYPE: Final = ("Content-Type", "application/problem+json")
RETRY_AFTER: Final = ("Retry-After", "1")


def answer_problems(app: Flask) -> None:
    """Let every error of this application be answered as a problem."""
    app.register_error_handler(MeshError, _of_mesh)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, title: str, detail: str, field: str | None = None) -> Response:
    """An answer that says what is wrong; `field` names the part of the request that is."""
    whole = _written(status, title, detail, current().request_id, field)
    return Response(whole, status, [CONTENT_TYPE])


def written(error: MeshError, request_id: str) -> bytes:
    """The body of the answer to an error whose message may be told, without Flask."""
    field = error.field if isinstance(error, InputError) else None
    return _written(error.http_status, error.title, error.message, request_id, field)


def tell_of(error: MeshError) -> None:
    """A line in the log, where it is no fault of the caller's: of that its request's line tells."""
    if not isinstance(error, InputError):
        log.warning("mesh_error", code=error.code, status=error.http_status, message=error.message)


def _written(
    status: int, title: str, detail: str, request_id: str, field: str | None = None
) -> bytes:
    members = {"status": status, "title": title, "detail": detail, "request_id": request_id}
    return orjson.dumps(members if field is None else {**members, "field": field})


def _of_mesh(error: MeshError) -> Response:
    tell_of(error)
    if error.http_status == MeshError.http_status:
        return _unexpected(error)
    headers = [CONTENT_TYPE, RETRY_AFTER] if isinstance(error, Overloaded) else [CONTENT_TYPE]
    return Response(written(error, current().request_id), error.http_status, headers)


def _of_http(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.name, error.description or error.name)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    log.error("unexpected_error", origin=origin(error))
    return problem(MeshError.http_status, MeshError.title, "something failed here; it is logged")
