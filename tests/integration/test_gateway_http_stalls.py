"""Requests over real Granian that stall or keep their places, and others beside them."""

import http.client
import socket

import pytest

from tests.gateway_harness import (
    Answer,
    GatewayProcess,
    chunked,
    head,
    media,
    predict_json,
    predict_text,
    receive,
    until,
)
from tests.integration.conftest import MAX_BODY, MAX_IN_FLIGHT


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
