"""The routes: what is answered, and every row of the table of statuses."""

import asyncio
import io
import json
import threading
from typing import Any

import pytest
import structlog
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from gateway.contract import Failure, ModalityReport, PredictRequest
from mesh.embedding import Modality
from mesh.errors import (
    DeadlineExpired,
    InvalidInput,
    MeshError,
    Overloaded,
    TooLarge,
    Unavailable,
    UnsupportedFormat,
)
from tests.unit.gateway.conftest import SETTINGS, Web

TEXT, IMAGE, AUDIO = Modality


def form(**fields: Any) -> dict[str, Any]:
    # Werkzeug's own boundaries now and then have more than the 70 characters that are allowed.
    boundary, data = encode_multipart(fields, "limit")
    # And it leaves out one of the two line breaks of an empty part.
    data = data.replace(b"stream\r\n\r\n--limit", b"stream\r\n\r\n\r\n--limit")
    return {"data": data, "content_type": f"multipart/form-data; boundary={boundary}"}


def file(data: bytes, name: str = "file") -> FileStorage:
    return FileStorage(io.BytesIO(data), name)


def raw(body: bytes, content_type: str = "application/json") -> dict[str, Any]:
    return {"data": body, "content_type": content_type}


def test_a_prediction_has_the_shape_of_the_contract(web: Web) -> None:
    """Every member is there, in the order of the contract, and labels in the model's order."""
    answer = web.say("hello").get_json()
    total = answer["timing_ms"].pop("total")
    assert total > 0
    assert json.dumps(answer) == json.dumps(
        {
            "prediction": "joy",
            "index": 2,
            "probability": 0.625,
            "probabilities": {"anger": 0.125, "fear": 0.25, "joy": 0.625},
            "modalities": {
                "text": {"status": "computed"},
                "image": {"status": "absent"},
                "audio": {"status": "absent"},
            },
            "degraded": False,
            "model": {"name": "fake", "version": "sha256:" + 64 * "0"},
            "timing_ms": {"cache": 0.5, "encode": 1.5, "fuse": 1.0},
            "request_id": answer["request_id"],
        }
    )


def test_form_and_json_ask_the_same(web: Web) -> None:
    """Text as field or file, media as file or base64: one request."""
    web.predict(**form(text="hé", image=file(b"pixels"), audio=file(b"sound")))
    web.predict(**form(text=file("hé".encode()), image=file(b"pixels"), audio="sound"))
    web.predict(json={"text": "hé", "image": "cGl4ZWxz", "audio": "data:a/b;base64,c291bmQ="})
    expected = {TEXT: "hé", IMAGE: b"pixels", AUDIO: b"sound"}
    assert [request.inputs for request in web.classifier.requests] == 3 * [expected]


def test_each_modality_may_come_alone(web: Web) -> None:
    """One field is enough, whichever."""
    assert web.say("hello").status_code == 200
    assert web.predict(**form(image=file(b"x"))).status_code == 200
    assert web.predict(**form(audio=file(b"x"))).status_code == 200


def test_blank_text_is_absent_beside_something_else(web: Web) -> None:
    """White space is no text: the request rests on what else there is."""
    answer = web.predict(**form(text=" \u2003\n", image=file(b"x"))).get_json()
    assert answer["modalities"]["text"] == {"status": "absent"}
    assert set(web.classifier.requests[0].inputs) == {IMAGE}


def test_reports_show_what_applies(web: Web) -> None:
    """Truncated only where true, an error only where failed, and the answer is degraded."""
    web.classifier.reports = {
        TEXT: ModalityReport("cached", truncated=True),
        IMAGE: ModalityReport("failed", error=Failure("UNAVAILABLE", "no encoder")),
    }
    answer = web.predict(**form(text="hi", image=file(b"x"))).get_json()
    assert answer["degraded"] is True
    assert answer["modalities"] == {
        "text": {"status": "cached", "truncated": True},
        "image": {"status": "failed", "error": {"code": "UNAVAILABLE", "message": "no encoder"}},
        "audio": {"status": "absent"},
    }


@pytest.mark.parametrize(
    ("query", "explain"),
    [
        ("", False),
        ("?explain=0", False),
        ("?explain=false", False),
        ("?explain=1", True),
        ("?explain=true", True),
    ],
)
def test_explanations_are_given_when_asked_for(web: Web, query: str, explain: bool) -> None:
    """Contributions appear beside what the answer rests on, and only then."""
    web.classifier.reports = {
        TEXT: ModalityReport("cached", contribution=0.25),
        AUDIO: ModalityReport("failed", error=Failure("UNAVAILABLE", "no encoder")),
    }
    modalities = web.say("hi", query).get_json()["modalities"]
    assert modalities["text"] == {"status": "cached"} | ({"contribution": 0.25} if explain else {})
    assert "contribution" not in modalities["image"] | modalities["audio"]
    assert web.classifier.requests[0].explain is explain


def test_the_only_modality_contributes_null(web: Web) -> None:
    """There is nothing to compare it with."""
    report = web.say("hi", "?explain=true").get_json()["modalities"]["text"]
    assert report == {"status": "computed", "contribution": None}


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


def test_a_file_input_that_nobody_filled_is_absent(web: Web) -> None:
    """Browsers send it as an empty file without a name."""
    part = 'Content-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n'
    text = 'Content-Disposition: form-data; name="text"\r\n\r\nhi\r\n'
    body = f"--b\r\n{part}--b\r\n{text}--b--\r\n"
    response = web.predict(**raw(body.encode(), "multipart/form-data; boundary=b"))
    assert response.get_json()["modalities"]["image"] == {"status": "absent"}


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


def test_the_deadline_counts_from_arrival(web: Web) -> None:
    """The header's seconds, or the default ones, and never more than the largest."""
    web.say("hi", X_Request_Timeout="8")
    web.say("hi")
    long, short = (request.deadline for request in web.classifier.requests)
    assert 2 < long - short < 8 - SETTINGS.timeout


def test_what_is_known_is_answered_without_the_mesh(web: Web) -> None:
    """The classifier recalls it, and is not asked to classify."""
    web.classifier.known = {TEXT: "hi"}
    assert web.say("hi").status_code == 200
    assert not web.classifier.requests
    assert web.say("ho").status_code == 200
    assert len(web.classifier.requests) == 1


def test_an_answer_past_its_deadline_is_504(web: Web) -> None:
    """The caller is not kept waiting for a mesh that is stuck."""
    assert web.say("wait 5", X_Request_Timeout="0.05").status_code == 504


def test_probes_say_alive_and_ready(web: Web) -> None:
    """Alive always, ready only when the mesh is and the process will stay."""
    assert web.get("/healthz").get_json() == {"status": "alive"}
    assert web.get("/readyz").get_json() == {"status": "ready"}
    web.classifier.is_ready = False
    assert web.get("/readyz").status_code == 503
    web.classifier.is_ready = True
    web.shared.drain()
    assert web.get("/readyz").status_code == 503
    assert web.get("/healthz").status_code == 200


def test_draining_closes_connections(web: Web) -> None:
    """Each answer asks its client to come back elsewhere."""
    assert "Connection" not in web.say("hi").headers
    web.shared.drain()
    response = web.say("hi")
    assert (response.status_code, response.headers["Connection"]) == (200, "close")


def test_metrics_show_requests_and_stages(web: Web) -> None:
    """What was asked is counted by status and timed; probes are not."""
    web.say("hi")
    web.say(" ")
    web.get("/healthz")
    text = web.get("/metrics").get_data(as_text=True)
    assert 'mesh_requests_total{code="200"} 1.0' in text
    assert 'mesh_requests_total{code="400"} 1.0' in text
    assert 'mesh_stage_seconds_count{stage="total"} 2.0' in text
    assert "process_resident_memory_bytes" in text


def test_the_model_is_described(web: Web) -> None:
    """Labels, versions and the state of the encoders, as the mesh knows them."""
    assert web.get("/v1/model").get_json() == web.classifier.describe()
