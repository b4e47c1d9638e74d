"""Bodies over real Granian: large, chunked, broken, slow, and refused before they are read."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway_harness import (
    HOST,
    Answer,
    GatewayProcess,
    chunked,
    head,
    predict_json,
    predict_text,
    receive,
    until,
)

MAX_BODY = 4_000_000
MAX_IN_FLIGHT = 4
# Far more than the buffers of two sockets hold, and no more than is discarded.
TOO_LARGE = bytes(15_000_000)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    log = tmp_path_factory.mktemp("gateway") / "log"
    with GatewayProcess(
        log, max_body=MAX_BODY, max_in_flight=MAX_IN_FLIGHT, max_in_flight_bytes=2 * MAX_BODY
    ) as process:
        yield process


def media(size: int) -> bytes:
    """A JSON body of about `size` bytes with an image."""
    return json.dumps({"image": base64.b64encode(bytes(3 * size // 4)).decode()}).encode()


def by_urllib(gateway: GatewayProcess) -> int:
    request = urllib.request.Request(f"{gateway.url}/predict", TOO_LARGE)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=20)
    return raised.value.code


def by_http_client(gateway: GatewayProcess) -> int:
    connection = http.client.HTTPConnection(HOST, gateway.port, timeout=20)
    connection.request("POST", "/predict", TOO_LARGE)
    return connection.getresponse().status


def by_curl(*options: str) -> Callable[[GatewayProcess], int]:
    def ask(gateway: GatewayProcess) -> int:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("no curl on this machine")
        command = [curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", *options]
        done = subprocess.run(
            [*command, "--data-binary", "@-", f"{gateway.url}/predict"],
            input=TOO_LARGE,
            capture_output=True,
            check=True,
            timeout=20,
        )
        return int(done.stdout)

    return ask


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(by_urllib, id="urllib"),
        pytest.param(by_http_client, id="http.client"),
        pytest.param(by_curl("-H", "Expect: 100-continue"), id="curl that asks first"),
        pytest.param(by_curl("-H", "Expect:"), id="curl that does not ask"),
    ],
)
def test_ordinary_clients_see_that_a_body_is_too_large(
    gateway: GatewayProcess, ask: Callable[[GatewayProcess], int]
) -> None:
    """The answer reaches a client that sends its whole body before it listens."""
    assert ask(gateway) == 413


def test_a_body_at_the_limit_is_taken(gateway: GatewayProcess) -> None:
    """One within it is answered, however large."""
    assert gateway.ask(predict_json(media(MAX_BODY - 1000))).status == 200


def test_a_chunked_body_is_read_whole(gateway: GatewayProcess) -> None:
    """A body without a length arrives as the same request."""
    answer = gateway.ask(head("Transfer-Encoding: chunked") + chunked(media(MAX_BODY - 1000)))
    assert (answer.status, answer.json["prediction"]) == (200, "joy")


def test_a_chunked_body_over_the_limit_is_413_and_never_cut(gateway: GatewayProcess) -> None:
    """Also where what was read so far would be a good request."""
    body = b'{"text": "hi"}' + MAX_BODY * b" "
    answer = gateway.ask(head("Transfer-Encoding: chunked") + chunked(body))
    assert (answer.status, answer.json["status"]) == (413, 413)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(head("Content-Length: 100") + b'{"text": "hi"}', id="short of its length"),
        pytest.param(head("Transfer-Encoding: chunked") + b'9\r\n{"text": "h', id="chunk cut"),
        pytest.param(
            head("Transfer-Encoding: chunked") + b'8\r\n{"text":\r\nzz\r\n', id="no chunk"
        ),
    ],
)
def test_a_body_that_breaks_off_is_malformed(gateway: GatewayProcess, raw: bytes) -> None:
    """A client that ends in the middle and still listens is told."""
    with gateway.send(raw) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection).status == 400


def stall(gateway: GatewayProcess, count: int, seconds: float) -> list[Answer]:
    """The answers to clients that fall silent in their bodies and keep their connections."""
    raw = head("Content-Length: 100", f"X-Request-Timeout: {seconds}") + b'{"te'
    connections = [gateway.send(raw) for _ in range(count)]
    answers = [receive(connection) for connection in connections]
    assert all(connection.recv(1) == b"" for connection in connections)
    for connection in connections:
        connection.close()
    return answers


def test_a_body_that_stalls_is_504_and_holds_nothing(gateway: GatewayProcess) -> None:
    """Place, bytes and threads are free again while the client still keeps its connection."""
    answers = stall(gateway, MAX_IN_FLIGHT, 0.3)
    assert [(answer.status, answer.json["status"]) for answer in answers] == MAX_IN_FLIGHT * [
        (504, 504)
    ]
    assert gateway.metric("mesh_in_flight") == 0
    assert gateway.metric("mesh_in_flight_bytes") == 0
    threads = gateway.worker.num_threads()
    for _ in range(5):
        stall(gateway, MAX_IN_FLIGHT, 0.05)
    assert gateway.say("hi").status == 200
    assert gateway.worker.num_threads() <= threads + MAX_IN_FLIGHT


def test_a_silent_body_does_not_keep_its_place_for_all_its_time(gateway: GatewayProcess) -> None:
    """Clients that ask for a minute and send nothing are answered far earlier."""
    assert {answer.status for answer in stall(gateway, MAX_IN_FLIGHT, 60)} == {504}
    assert gateway.metric("mesh_in_flight") == 0
    assert gateway.say("hi").status == 200


def test_a_late_body_that_ends_after_all_has_a_whole_answer(gateway: GatewayProcess) -> None:
    """A client that is only slow gets the last byte of its 504, too."""
    with gateway.send(head("Content-Length: 20", "X-Request-Timeout: 0.2")) as connection:
        connection.settimeout(10)
        assert connection.recv(1, socket.MSG_PEEK)
        connection.sendall(20 * b" ")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()[-2:]) == (504, b"}\n")


def test_a_body_that_trickles_is_504(gateway: GatewayProcess) -> None:
    """What arrives byte by byte has no more time than what does not arrive."""
    with gateway.send(head("Content-Length: 100000", "X-Request-Timeout: 0.5")) as connection:
        connection.settimeout(0.02)
        sent = 0
        answer = b""
        while not answer and sent < 500:
            connection.sendall(b" ")
            sent += 1
            try:
                answer = connection.recv(100)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 504 ")


def full(gateway: GatewayProcess, seconds: float) -> list[socket.socket]:
    """Connections whose requests take every place."""
    waiting = [gateway.send(predict_text(f"wait {seconds}")) for _ in range(MAX_IN_FLIGHT)]
    until(lambda: gateway.metric("mesh_in_flight") == MAX_IN_FLIGHT, 10, "every place is taken")
    return waiting


def test_beyond_the_places_requests_are_429_and_probes_answer(gateway: GatewayProcess) -> None:
    """Refusals say when to come again, whatever the body, and those inside are answered."""
    waiting = full(gateway, 1)
    refused = [
        gateway.say("hi"),
        gateway.ask(predict_json(media(MAX_BODY - 1000))),
        gateway.ask(head("Transfer-Encoding: chunked") + chunked(media(100_000))),
        gateway.ask(head("Content-Length: 100", "Expect: 100-continue")),
    ]
    assert [(answer.status, answer.headers["retry-after"]) for answer in refused] == 4 * [
        (429, "1")
    ]
    assert gateway.get("/healthz").status == 200
    assert [receive(connection).status for connection in waiting] == MAX_IN_FLIGHT * [200]
    assert gateway.say("hi").status == 200


def test_bytes_in_flight_are_bounded(gateway: GatewayProcess) -> None:
    """What is announced counts from the start, what is chunked as it comes."""
    announced = [
        gateway.send(head(f"Content-Length: {MAX_BODY}", "X-Request-Timeout: 2") + b'{"te')
        for _ in range(2)
    ]
    until(lambda: gateway.metric("mesh_in_flight") == 2, 10, "they are admitted")
    assert gateway.say("hi").status == 429
    answer = gateway.ask(head("Transfer-Encoding: chunked") + chunked(media(1000)))
    assert answer.status == 429
    for connection in announced:
        connection.close()
    until(lambda: gateway.metric("mesh_in_flight") == 0, 10, "they are gone")
    assert gateway.say("hi").status == 200


def test_stalled_refusals_leave_threads_to_probes(gateway: GatewayProcess) -> None:
    """Clients that stall while their refused bodies are discarded can't take every thread."""
    stalled = [
        gateway.send(head(f"Content-Length: {MAX_BODY + 1}") + b'{"te')
        for _ in range(MAX_IN_FLIGHT + 20)
    ]
    assert gateway.get("/healthz").status == 200
    assert gateway.say("hi").status == 200
    answers: list[Answer] = [receive(connection) for connection in stalled]
    assert {answer.status for answer in answers} == {413}
    for connection in stalled:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", "/healthz"), ("GET", "/healthz"), ("POST", "/nowhere")]
)
def test_a_stalled_body_that_nobody_wants_freezes_nothing(
    gateway: GatewayProcess, method: str, path: str
) -> None:
    """Whatever it was sent to, others are answered meanwhile and afterwards."""
    with gateway.send(
        f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n1".encode()
    ) as stalled:
        assert gateway.say("hi").status == 200
        assert stalled.recv(100)
        assert gateway.say("hi").status == 200


def test_a_connection_is_kept_after_good_and_bad_answers(gateway: GatewayProcess) -> None:
    """A refusal whose body was read does not cost the client its connection."""
    requests = [predict_text("hi"), predict_text(" "), predict_json(b"{"), predict_text("hi")]
    with gateway.connect() as connection:
        statuses = []
        for request in requests:
            connection.sendall(request)
            statuses.append(receive(connection).status)
    assert statuses == [200, 400, 400, 200]


def test_a_client_that_asks_first_is_let_on(gateway: GatewayProcess) -> None:
    """Expect: 100-continue is answered when the body is wanted, then the request is."""
    body = b'{"text": "hi"}'
    with gateway.send(head(f"Content-Length: {len(body)}", "Expect: 100-continue")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert receive(connection).status == 200


def test_no_log_line_has_what_was_sent(gateway: GatewayProcess, tmp_path: Path) -> None:
    """The log names requests, never their content."""
    secret = "a-very-private-sentence"
    assert gateway.say(secret, "X-Request-Id: my-id").status == 200
    assert gateway.ask(predict_json(b'{"text": "' + secret.encode())).status == 400
    lines = [json.dumps(line) for line in gateway.log_lines()]
    assert any('"my-id"' in line for line in lines)
    assert not any(secret in line for line in lines)
