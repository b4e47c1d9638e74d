"""What every exchange has: an id, a line in the log, and a client that sees its answer."""

import time
from datetime import datetime

import pytest
import structlog

from gateway.exchanges import REQUEST_ID
from tests.fake_models import PATIENCE
from tests.gateway_fakes import Stalled
from tests.unit.gateway.conftest import Web


@pytest.mark.parametrize("mine", ["a", "5f0c-77/9", 128 * "~", "!"])
def test_the_callers_id_is_kept(web: Web, mine: str) -> None:
    """In header, body and what goes on into the mesh."""
    response = web.say("hi", X_Request_Id=mine)
    assert response.headers[REQUEST_ID] == response.get_json()["request_id"] == mine
    assert web.classifier.requests[0].request_id == mine


@pytest.mark.parametrize("bad", ["", " ", "a b", 129 * "x", "é", "\x7f", "a\tb"])
def test_an_id_that_would_not_fit_is_replaced(web: Web, bad: str) -> None:
    """By one of our own; two requests have two."""
    ids = {web.say("hi", X_Request_Id=bad).headers[REQUEST_ID] for _ in range(2)}
    assert len(ids) == 2
    assert bad not in ids


@pytest.mark.parametrize("path", ["/nowhere", "/healthz", "/predict"])
def test_each_answer_has_its_id_and_one_line(web: Web, path: str) -> None:
    """Problems too; the line has method, path, status and seconds."""
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        response = web.get(path, headers={REQUEST_ID: "mine"})
    assert response.headers[REQUEST_ID] == "mine"
    [line] = logs
    assert line.pop("seconds") >= 0
    assert abs(datetime.fromisoformat(line.pop("timestamp")).timestamp() - time.time()) < PATIENCE
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "mine",
        "method": "GET",
        "path": path,
        "status": response.status_code,
    }


@pytest.mark.parametrize(("sent", "told"), [("//predict", "/predict"), ("/h\xc3\xa9", "/hé")])
def test_a_path_is_what_flask_takes_it_for(web: Web, sent: str, told: str) -> None:
    """So that nothing that is answered goes uncounted."""
    with structlog.testing.capture_logs() as logs:
        response = web.predict(json={"text": "hi"}, environ_overrides={"PATH_INFO": sent})
    assert logs[-1]["path"] == told
    answered = web.counted("mesh_requests_total", code="200")
    assert (response.status_code, answered) == ((200, 1) if told == "/predict" else (404, 0))


def test_ids_do_not_leak_into_the_next_request(web: Web) -> None:
    """A thread that serves again starts anew."""
    web.get("/healthz", headers={REQUEST_ID: "first"})
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        web.get("/healthz")
    assert logs[0]["request_id"] != "first"


def test_only_answers_to_the_question_itself_are_counted(web: Web) -> None:
    """Another method on its path is no request to classify, and takes no time of one."""
    for method in ("GET", "PUT", "OPTIONS"):
        assert web.ask(method, "/predict").status_code == 405
    web.say("hi")
    assert web.counted("mesh_requests_total", code="405") == 0
    assert web.counted("mesh_requests_total", code="200") == 1
    assert web.counted("mesh_stage_seconds_count", stage="total") == 1


def test_what_is_refused_unread_is_discarded(web: Web) -> None:
    """The connection can be kept then."""
    response = web.ask("POST", "/nowhere", data=bytes(10_000))
    assert (response.status_code, response.headers.get("Connection")) == (404, None)


def test_what_can_not_be_discarded_closes_the_connection(web: Web) -> None:
    """Nobody knows where the next request would begin."""
    response = web.ask("POST", "/nowhere", data=bytes(100_000))
    assert (response.status_code, response.headers.get("Connection")) == (404, "close")


def test_a_late_body_has_an_answer_that_can_be_cut(web: Web) -> None:
    """All of it but one byte of white space, and the connection is closed."""
    client = Stalled(b'{"te')
    response = web.predict(
        content_type="application/json",
        environ_overrides={"wsgi.input": client, "CONTENT_LENGTH": "100"},
        headers={"X-Request-Timeout": "0.05"},
    )
    client.ended.set()
    assert (response.status_code, response.headers["Connection"]) == (504, "close")
    assert response.content_length == len(response.data) + 1
