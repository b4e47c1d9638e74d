"""Bodies over real Granian: large, chunked and broken ones, and what their connections see."""

import http.client
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway_harness import (
    HOST,
    GatewayProcess,
    chunked,
    head,
    media,
    predict_json,
    predict_text,
    receive,
)
from tests.integration.conftest import MAX_BODY

# Far more than the buffers of two sockets hold, and no more than is discarded.
TOO_LARGE = bytes(15_000_000)


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
