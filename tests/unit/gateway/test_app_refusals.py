"""What the routes refuse: every row of the table of statuses."""

import asyncio
import threading
from typing import Any

import pytest
import structlog

from gateway.contract import ModalityReport, PredictRequest
from mesh.errors import (
    DeadlineExpired,
    InvalidInput,
    MeshError,
    Overloaded,
    TooLarge,
    Unavailable,
    UnsupportedFormat,
)
from tests.unit.gateway.conftest import Web, file, form, raw
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT

MALFORMED: dict[str, tuple[dict[str, Any], str | None]] = {
    "broken JSON": (raw(b'{"text": "hi"'), None),
    "JSON nested deep": (raw(b'{"text": ' + 100 * b"["), "text"),
    "lone surrogate": (raw(b'{"text": "\\ud800"}'), "text"),
    "wrong type": (raw(b'{"text": 1}'), "text"),
    "broken base64": (raw(b'{"image": "*"}'), "image"),
    "unknown field in JSON": (raw(b'{"txt": "hi"}'), "txt"),
    "repeated field in JSON": (raw(b'{"text": "hi", "text": "ho"}'), "text"),
    "broken multipart": (raw(b"--b\r\n", "multipart/form-data; boundary=b"), None),
    "no boundary": (raw(b"--b\r\n", "multipart/form-data"), None),
    "unknown field in a form": (form(txt="hi"), "txt"),
    "repeated field in a form": (form(text=["hi", "ho"]), "text"),
    "text that is no UTF-8": (form(text=file(b"\xff")), "text"),
    "nothing sent": (raw(b"{}"), None),
    "nothing but white space": (raw(b'{"text": " \\n"}'), None),
    "an empty form": (raw(b"--b--\r\n", "multipart/form-data; boundary=b"), None),
    "no body": (raw(b""), None),
}


@pytest.mark.parametrize(("request_", "field"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_400(web: Web, request_: dict[str, Any], field: str | None) -> None:
    """The problem names the field, where it is one field's, and nothing is classified."""
    response = web.predict(**request_)
    assert response.status_code == 400
    assert response.get_json().get("field") == field
    assert not web.classifier.requests


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "abc", "", "8.01", "1_0", "1, 2"])
def test_a_bad_timeout_is_400(web: Web, value: str) -> None:
    """Only seconds above 0 and up to the largest are taken."""
    response = web.say("hi", X_Request_Timeout=value)
    assert (response.status_code, response.get_json()["field"]) == (400, "X-Request-Timeout")


@pytest.mark.parametrize("query", ["?explain=yes", "?explain=", "?explain=1&explain=1", "?a=1"])
def test_a_bad_query_is_400(web: Web, query: str) -> None:
    """Unknown parameters and values are named rather than passed over."""
    response = web.say("hi", query)
    assert (response.status_code, response.get_json()["field"]) == (400, query[1:].split("=")[0])


@pytest.mark.parametrize("path", ["/", "/predict/", "//predict", "/v1", "/static/x", "/%ff"])
def test_other_paths_are_404(web: Web, path: str) -> None:
    """There is nothing but the routes of the contract."""
    assert web.get(path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(web: Web, method: str) -> None:
    """The answer says which are allowed."""
    response = web.ask(method, "/predict")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert web.ask("POST", "/healthz").status_code == 405


TOO_LARGE: dict[str, tuple[dict[str, Any], str | None]] = {
    "text": (form(text=21 * "é"), "text"),
    "image": (form(image=file(bytes(301))), "image"),
    "audio": (form(audio=file(bytes(301))), "audio"),
    "the body": (raw(bytes(4001), "a/b"), None),
}


@pytest.mark.parametrize(("request_", "field"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_over_a_limit_is_413(web: Web, request_: dict[str, Any], field: str | None) -> None:
    """Beyond each limit, and not at it."""
    response = web.predict(**request_)
    assert (response.status_code, response.get_json().get("field")) == (413, field)
    assert web.predict(**form(text=20 * "é", image=file(bytes(300)))).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json-patch+json"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_content_types_are_415(web: Web, headers: dict[str, str]) -> None:
    """Also none at all, and a body that is compressed."""
    response = web.predict(data=b'{"text": "hi"}', headers=headers)
    assert response.status_code == 415
    assert response.get_json()["field"] in ("Content-Type", "Content-Encoding")


@pytest.mark.parametrize("field", ["image", "audio"])
def test_an_empty_file_is_422(web: Web, field: str) -> None:
    """However it comes, and also beside a good field."""
    for request in (form(text="hi", **{field: file(b"")}), raw(b'{"%s": ""}' % field.encode())):
        response = web.predict(**request)
        assert (response.status_code, response.get_json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (TooLarge("too many pixels", IMAGE), 413, "image"),
        (UnsupportedFormat("of no known format", IMAGE), 415, "image"),
        (InvalidInput("no samples", AUDIO), 422, "audio"),
        (Unavailable("fusion is down"), 503, None),
        (DeadlineExpired("no answer in time"), 504, None),
    ],
)
def test_errors_of_the_mesh_keep_their_status(
    web: Web, error: MeshError, status: int, field: str | None
) -> None:
    """Whatever the mesh refuses is answered as its error says."""
    web.classifier.error = error
    response = web.say("hi")
    assert (response.status_code, response.get_json().get("field")) == (status, field)
    assert response.get_json()["detail"] == error.message
    assert web.counted("mesh_requests_total", code=str(status)) == 1


def test_overload_of_the_mesh_says_when_to_come_again(web: Web) -> None:
    """A full queue behind the gateway is a 429 with Retry-After."""
    web.classifier.error = Overloaded("the queue is full")
    response = web.say("hi")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")


def test_what_nobody_expected_is_500_and_says_nothing(web: Web) -> None:
    """The log has the place, the answer has nothing, and the user's words are in neither."""
    web.classifier.error = ValueError("hi is secret")
    with structlog.testing.capture_logs() as logs:
        response = web.say("hi is secret")
    assert response.status_code == 500
    assert b"secret" not in response.data
    [logged] = [line for line in logs if line["event"] == "unexpected_error"]
    assert any("gateway_fakes.py" in place for place in logged["origin"])
    assert "secret" not in str(logs)


def test_an_answer_that_is_no_json_is_500(web: Web) -> None:
    """NaN would break the caller's parser."""
    web.classifier.reports = {TEXT: ModalityReport("computed", contribution=float("nan"))}
    assert web.say("hi", "?explain=1").status_code == 500


def test_an_answer_past_its_deadline_is_504(web: Web) -> None:
    """The caller is not kept waiting for a mesh that is stuck."""
    assert web.say("wait 5", X_Request_Timeout="0.05").status_code == 504


def test_beyond_the_places_it_is_429(web: Web) -> None:
    """The third of two is refused before its body is read, and a place that is free is given."""
    occupied = threading.Barrier(3)
    release = threading.Event()

    async def hold(request: PredictRequest) -> Any:
        await asyncio.to_thread(occupied.wait, 10)
        await asyncio.to_thread(release.wait, 10)
        return web.classifier.prediction(request)

    web.classifier.classify = hold  # type: ignore[method-assign]
    inside = [threading.Thread(target=web.say, args=("hi",)) for _ in range(2)]
    for thread in inside:
        thread.start()
    occupied.wait(10)
    assert web.counted("mesh_in_flight") == 2
    refused = web.say("hi")
    assert web.get("/healthz").status_code == 200
    release.set()
    for thread in inside:
        thread.join()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert web.counted("mesh_requests_total", code="200") == 2
    assert web.counted("mesh_in_flight") == web.counted("mesh_in_flight_bytes") == 0
