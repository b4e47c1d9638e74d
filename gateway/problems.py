"""Every error as `application/problem+json` (RFC 9457): the one place where errors become answers.

What went wrong on our side is never told: the log says it. The messages of MeshErrors are our own
and hold nothing of what was sent; those of other errors may, so they are not logged.
"""

import structlog
from flask import Flask, Response, current_app
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gateway.exchanges import current
from mesh.errors import InputError, MeshError, Overloaded
from mesh.telemetry import origin

log = structlog.stdlib.get_logger("gateway")


def answer_problems(app: Flask) -> None:
    """Let every error of this application be answered as a problem."""
    app.register_error_handler(MeshError, _of_mesh)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, title: str, detail: str, field: str | None = None) -> Response:
    """An answer that says what is wrong; `field` names the part of the request that is."""
    members = {
        "status": status,
        "title": title,
        "detail": detail,
        "request_id": current().request_id,
    }
    if field is not None:
        members["field"] = field
    return Response(
        current_app.json.dumps(members), status, content_type="application/problem+json"
    )


def _of_mesh(error: MeshError) -> Response:
    if not isinstance(error, InputError):
        log.warning("mesh_error", code=error.code, status=error.http_status, message=error.message)
    if error.http_status == MeshError.http_status:
        return _unexpected(error)
    field = error.field if isinstance(error, InputError) else None
    response = problem(error.http_status, error.title, error.message, field)
    if isinstance(error, Overloaded):
        response.headers["Retry-After"] = "1"
    return response


def _of_http(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.name, error.description or error.name)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _unexpected(error: Exception) -> Response:
    log.error("unexpected_error", origin=origin(error))
    return problem(MeshError.http_status, MeshError.title, "something failed here; it is logged")
