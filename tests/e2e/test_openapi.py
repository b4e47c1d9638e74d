"""The gateway's OpenAPI document, held against what the real mesh answers."""

import httpx
import pytest
from openapi_spec_validator import validate

from tests.e2e.asking import everything, predict
from tests.e2e.inputs import IMAGE, new_text
from tests.e2e.member import http
from tests.e2e.mesh import Mesh
from tests.openapi import DOCUMENT, check_answer

PATHS = ["/healthz", "/readyz", "/metrics", "/v1/model", "/openapi.json"]


def conforms(response: httpx.Response, status: int) -> None:
    """Check an answer's status, and that it is as the document says of it."""
    request = response.request
    assert response.status_code == status
    check_answer(request.method, request.url.path, status, response.headers, response.content)


def test_the_served_document_is_openapi(mesh: Mesh) -> None:
    """It is a valid OpenAPI 3.1 document, and describes every path that there is."""
    document = http.get(f"{mesh.url}/openapi.json").json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/predict", *PATHS}
    assert document == DOCUMENT


@pytest.mark.parametrize("path", PATHS)
def test_descriptions_and_probes_conform(mesh: Mesh, path: str) -> None:
    """What is told of the gateway and its models is as described."""
    conforms(http.get(f"{mesh.url}{path}"), 200)


@pytest.mark.parametrize("explain", [False, True])
def test_whole_answers_conform(mesh: Mesh, explain: bool) -> None:
    """Computed, then cached, cut or not, with all modalities or one: each is as described."""
    sent = everything()
    for _ in range(2):
        conforms(predict(mesh.url, sent, explain=explain), 200)
    long = {"text": new_text() + " and again" * 400}
    conforms(predict(mesh.url, long, explain=explain), 200)


def test_refusals_conform(mesh: Mesh) -> None:
    """A problem of every status that a caller can cause is as described."""
    url = f"{mesh.url}/predict"
    conforms(http.post(url, json={"smell": "roses"}), 400)
    conforms(http.get(f"{mesh.url}/nowhere"), 404)
    conforms(http.get(url), 405)
    conforms(http.post(url, json={"text": "x" * 10_001}), 413)
    conforms(http.post(url, content=b"hello"), 415)
    conforms(predict(mesh.url, {"image": IMAGE[:500]}), 422)
    conforms(predict(mesh.url, everything(), timeout=0.0001), 504)


def test_faults_of_the_mesh_conform(mesh: Mesh) -> None:
    """Degraded, and without any encoder: each is as described."""
    away = dict.fromkeys(("text-encoder", "vision-encoder"), "ipv4:127.0.0.1:1")
    gateway = mesh.add_gateway("gateway-alone", targets=away)
    gateway.start()
    gateway.wait_ready()
    degraded = predict(gateway.url, everything())
    assert degraded.json()["degraded"] is True
    conforms(degraded, 200)
    conforms(predict(gateway.url, {"text": new_text()}), 503)
