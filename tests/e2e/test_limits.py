"""Bodies that are too large, too slow or cut off, as ordinary clients send them."""

import http.client
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.asking import PROBLEM, answered, as_json, everything, predict, refused, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.inputs import new_text
from tests.e2e.mesh import Mesh

MAX_BODY = 1024 * 1024
CHUNK = 64 * 1024
JSON = {"Content-Type": "application/json"}
curl = shutil.which("curl")
needs_curl = pytest.mark.skipif(curl is None, reason="there is no curl here")


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process; bodies may have a megabyte."""
    return make_mesh(MESH_MAX_BODY=str(MAX_BODY))


def too_large(factor: int = 2) -> bytes:
    """A body of that many times the limit."""
    return json.dumps({"image": "A" * (factor * MAX_BODY)}).encode()


def connect(mesh: Mesh) -> http.client.HTTPConnection:
    """A new connection to the gateway."""
    return http.client.HTTPConnection(urlsplit(mesh.url).netloc, timeout=30)


def problem_of(response: http.client.HTTPResponse, status: int) -> None:
    """Check that an answer is a problem with this status; its last line feed may be cut off."""
    assert response.status == status
    assert response.headers["Content-Type"] == PROBLEM
    try:
        body = response.read()
    except http.client.IncompleteRead as cut:
        body = cut.partial
    assert json.loads(body)["status"] == status


def test_httpx_sees_the_413(mesh: Mesh) -> None:
    """A body over the limit is refused as a problem, and the next request is served."""
    refused(predict(mesh.url, {"image": bytes(2 * MAX_BODY)}), 413)
    answered(predict(mesh.url, {"text": new_text()}))


@pytest.mark.parametrize("factor", [1, 4])
def test_urllib_sees_the_413(mesh: Mesh, factor: int) -> None:
    """A client that sends all of its body before it reads is told, not cut off."""
    request = urllib.request.Request(f"{mesh.url}/predict", too_large(factor), JSON)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code == 413
    assert caught.value.headers["Content-Type"] == PROBLEM


def run_curl(mesh: Mesh, tmp_path: Path, *options: str) -> tuple[int, int]:
    """The status of the final answer, and the bytes of the body that curl sent."""
    (tmp_path / "body.json").write_bytes(too_large())
    command = [str(curl), "--silent", "--show-error", "--max-time", "30", *options]
    command += ["--header", "Content-Type: application/json", "--output", "/dev/null"]
    command += ["--data-binary", f"@{tmp_path / 'body.json'}", f"{mesh.url}/predict"]
    command += ["--noproxy", "*", "--write-out", "%{http_code} %{size_upload}"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    status, sent = written.split()
    return int(status), int(sent)


@needs_curl
def test_curl_that_expects_continue_sends_nothing(mesh: Mesh, tmp_path: Path) -> None:
    """With Expect: 100-continue the 413 comes before any of the body was sent."""
    assert run_curl(mesh, tmp_path, "--header", "Expect: 100-continue") == (413, 0)


@needs_curl
def test_curl_that_expects_nothing_sees_the_413(mesh: Mesh, tmp_path: Path) -> None:
    """Without it curl sends its body, and sees the refusal too."""
    status, _ = run_curl(mesh, tmp_path, "--header", "Expect:")
    assert status == 413


@needs_curl
def test_curl_that_sends_chunks_sees_the_413(mesh: Mesh, tmp_path: Path) -> None:
    """A chunked body names no length; it is refused as soon as it is over the limit."""
    status, _ = run_curl(
        mesh, tmp_path, "--header", "Transfer-Encoding: chunked", "--header", "Expect:"
    )
    assert status == 413


def in_chunks(body: bytes) -> Iterator[bytes]:
    """The body in pieces, which http.client sends as chunks."""
    return (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))


def test_a_chunked_body_over_the_limit_is_never_cut(mesh: Mesh) -> None:
    """It is refused whole, also where its first megabyte would be a good request."""
    good = json.dumps({"text": new_text()}).encode()
    connection = connect(mesh)
    body = in_chunks(good + b" " * (2 * MAX_BODY))
    connection.request("POST", "/predict", body, JSON, encode_chunked=True)
    problem_of(connection.getresponse(), 413)


def test_a_chunked_body_within_the_limit_is_answered(mesh: Mesh) -> None:
    """Chunks are as good as a length."""
    connection = connect(mesh)
    body = json.dumps(as_json(everything())).encode()
    connection.request("POST", "/predict", in_chunks(body), JSON, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    assert statuses(json.loads(response.read())) == dict.fromkeys(
        ("text", "image", "audio"), "computed"
    )


def send_raw(mesh: Mesh, *lines: str, body: bytes = b"") -> http.client.HTTPResponse:
    """Send a request whose body is less than it says, and wait for the answer to that."""
    address = urlsplit(mesh.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    head = "\r\n".join(["POST /predict HTTP/1.1", f"Host: {address.netloc}", *lines, "", ""])
    connection.sendall(head.encode() + body)
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response


def test_a_body_that_does_not_come_is_a_504(mesh: Mesh) -> None:
    """A client that stalls holds its place no longer than its deadline, and then its connection."""
    response = send_raw(
        mesh, "Content-Type: application/json", "Content-Length: 100", "X-Request-Timeout: 0.5"
    )
    problem_of(response, 504)
    answered(predict(mesh.url, {"text": new_text()}))


def test_a_length_over_the_limit_is_refused_unseen(mesh: Mesh) -> None:
    """The length alone decides; the answer closes the connection that nobody reads from."""
    response = send_raw(
        mesh, "Content-Type: application/json", f"Content-Length: {1000 * MAX_BODY}"
    )
    assert response.headers["Connection"] == "close"
    problem_of(response, 413)


def test_refused_bodies_are_let_go(mesh: Mesh) -> None:
    """After all that the gateway holds no request and no byte of any body."""
    metrics = mesh["gateway"].metrics()
    assert metrics.value("mesh_in_flight") == 0
    assert metrics.value("mesh_in_flight_bytes") == 0
