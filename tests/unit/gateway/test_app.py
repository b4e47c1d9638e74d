"""The routes: what is answered, and what the process tells of itself."""

import json

import pytest

from gateway.contract import Failure, ModalityReport
from tests.unit.gateway.conftest import SETTINGS, Web, file, form, raw
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT


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


def test_a_file_input_that_nobody_filled_is_absent(web: Web) -> None:
    """Browsers send it as an empty file without a name."""
    part = 'Content-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n'
    text = 'Content-Disposition: form-data; name="text"\r\n\r\nhi\r\n'
    body = f"--b\r\n{part}--b\r\n{text}--b--\r\n"
    response = web.predict(**raw(body.encode(), "multipart/form-data; boundary=b"))
    assert response.get_json()["modalities"]["image"] == {"status": "absent"}


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
