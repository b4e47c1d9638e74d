"""The life of the gateway's process: start, signals, draining under load, and sudden ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway_harness import (
    STOP_WAIT,
    GatewayProcess,
    head,
    predict_text,
    receive,
    until,
)

CLIENTS = 12
NO_MESH = """
from gateway.__main__ import main

async def fail(settings, metrics):
    raise OSError("no mesh here")

main(fail)
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path / "log", drain_delay=0.5) as process:
        yield process


def test_every_route_is_served(gateway: GatewayProcess) -> None:
    """The real server answers what the application does, and names itself no further."""
    paths = ["/healthz", "/readyz", "/metrics", "/v1/model", "/openapi.json"]
    assert [gateway.get(path).status for path in paths] == 5 * [200]
    answer = gateway.say("hi", "X-Request-Id: mine")
    assert (answer.status, answer.json["request_id"]) == (200, "mine")
    assert answer.headers["x-request-id"] == "mine"


def test_every_log_line_is_json(gateway: GatewayProcess) -> None:
    """Granian's words and ours alike, and those of a request bear its id."""
    gateway.say("hi", "X-Request-Id: mine")
    lines = gateway.log_lines()
    assert {"_granian", "gateway"} <= {line["logger"] for line in lines}
    [access] = [line for line in lines if line.get("request_id") == "mine"]
    assert (access["method"], access["path"], access["status"]) == ("POST", "/predict", 200)


def test_a_port_in_use_is_a_clear_error(gateway: GatewayProcess, tmp_path: Path) -> None:
    """A second gateway on the port says so and exits with 1, and takes nothing from the first."""
    second = GatewayProcess(tmp_path / "second", http_port=gateway.port)
    second.start()
    assert second.wait() == 1
    [line] = second.log_lines()
    assert "in use" in line["reason"]
    assert gateway.get("/healthz").status == 200


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    """The process does not start, and its last word is the variable's name."""
    log = tmp_path / "log"
    process = GatewayProcess(log, max_in_flight_bytes=1000)
    process.start()
    assert process.wait() == 1
    assert "MESH_MAX_IN_FLIGHT_BYTES" in log.read_text()


def test_a_mesh_that_can_not_be_opened_is_one_line_of_the_log() -> None:
    """The worker says why as JSON, with no bare traceback, and the process exits with 1."""
    ended = subprocess.run(
        [sys.executable, "-c", NO_MESH],
        env=os.environ | {"MESH_HTTP_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=STOP_WAIT,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    [line] = [line for line in lines if line["event"] == "worker_failed"]
    assert line["level"] == "critical"
    assert "OSError: no mesh here" in line["exception"]


def test_a_worker_that_dies_ends_the_process(gateway: GatewayProcess) -> None:
    """Nothing is left that looks alive and answers nothing."""
    gateway.worker.kill()
    assert gateway.wait() == 1


def test_a_killed_main_process_takes_its_worker_along(gateway: GatewayProcess) -> None:
    """The port is free again: no orphan goes on serving it."""
    worker = gateway.worker
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    worker.wait(STOP_WAIT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_draining_says_so_and_still_answers(
    gateway: GatewayProcess, number: signal.Signals
) -> None:
    """Not ready, every connection closed after its answer, and everything is answered."""
    kept = gateway.send(predict_text("hi"))
    assert "connection" not in receive(kept).headers
    slow = gateway.send(predict_text("wait 2"))
    begun = gateway.send(head("Content-Length: 14") + b'{"text"')
    until(lambda: gateway.metric("mesh_in_flight") == 2, 10, "both have begun")
    gateway.signal(number)
    until(lambda: gateway.get("/readyz").status == 503, 10, "it is not ready")
    assert gateway.get("/healthz").headers["connection"] == "close"
    kept.sendall(predict_text("hi"))
    last = receive(kept)
    assert (last.status, last.headers["connection"]) == (200, "close")
    assert receive(slow).status == 200
    begun.sendall(b': "hi"}')
    assert receive(begun).status == 200
    assert gateway.wait() == 0


def test_ctrl_c_for_the_whole_group_drains(gateway: GatewayProcess) -> None:
    """A terminal's signal, which goes to every process at once, loses no request either."""
    slow = gateway.send(predict_text("wait 1"))
    until(lambda: gateway.metric("mesh_in_flight") == 1, 10, "it has begun")
    os.killpg(gateway.pid, signal.SIGINT)
    assert receive(slow).status == 200
    assert gateway.wait() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever can't wait does not have to."""
    with GatewayProcess(tmp_path / "log", drain_delay=60) as gateway:
        gateway.signal(signal.SIGTERM)
        until(lambda: gateway.get("/readyz").status == 503, 10, "it drains")
        gateway.signal(signal.SIGTERM)
        gateway.wait()


def test_a_second_signal_ends_it_while_it_waits_for_a_request(tmp_path: Path) -> None:
    """The last request is not waited for any more."""
    with GatewayProcess(tmp_path / "log", drain_delay=0) as gateway:
        slow = gateway.send(predict_text("wait 60", "X-Request-Timeout: 60"))
        until(lambda: gateway.metric("mesh_in_flight") == 1, 10, "it has begun")
        gateway.signal(signal.SIGTERM)
        until(lambda: "Shutting down" in gateway.log_text(), 10, "it waits")
        gateway.signal(signal.SIGTERM)
        gateway.wait()
        slow.close()


def test_no_request_is_lost_when_it_stops_under_load(gateway: GatewayProcess) -> None:
    """Every client that got through is answered; the others are refused, and none is cut off."""
    outcomes: Counter[str] = Counter()
    refused = threading.Event()

    def ask_until_refused() -> None:
        while True:
            try:
                connection = gateway.connect()
            except ConnectionRefusedError:
                refused.set()
                return
            try:
                connection.sendall(predict_text("wait 0.01"))
                outcomes[str(receive(connection).status)] += 1
            except OSError as error:
                outcomes[type(error).__name__] += 1
            connection.close()

    clients = [threading.Thread(target=ask_until_refused) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    until(lambda: outcomes["200"] > 100, 20, "the load is on")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    for client in clients:
        client.join(STOP_WAIT)
    assert set(outcomes) == {"200"}
    assert refused.is_set()


def test_a_request_that_comes_late_in_its_connection_is_answered(tmp_path: Path) -> None:
    """A connection that was made before the port closed has time to send its request."""
    with GatewayProcess(tmp_path / "log", drain_delay=0) as gateway:
        connection = gateway.connect()
        gateway.signal(signal.SIGTERM)
        connection.sendall(predict_text("hi"))
        assert receive(connection).status == 200
        assert gateway.wait() == 0


def test_stalled_clients_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """A body that never ends is given up at its deadline, and the process stops."""
    with GatewayProcess(tmp_path / "log", drain_delay=0) as gateway:
        stalled = gateway.send(head("Content-Length: 100", "X-Request-Timeout: 1"))
        idle: list[socket.socket] = [gateway.connect() for _ in range(5)]
        until(lambda: gateway.metric("mesh_in_flight") == 1, 10, "it has begun")
        gateway.signal(signal.SIGTERM)
        assert receive(stalled).status == 504
        assert gateway.wait() == 0
        assert all(connection.recv(1) == b"" for connection in idle)
