"""A gateway of several processes: one port, one set of limits, one `/metrics`, and one end."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.gateway_harness import STOP_WAIT, GatewayProcess, predict_text, receive, until

CLIENTS = 12


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    settings = {"gateway_processes": 2, "drain_delay": 0.5, "max_in_flight": 4}
    with GatewayProcess(tmp_path / "log", **settings) as process:
        until(lambda: len(both(process)) == 2, 20, "both are ready")
        yield process


def workers(gateway: GatewayProcess) -> list[psutil.Process]:
    """The processes that serve."""
    return psutil.Process(gateway.pid).children()


def both(gateway: GatewayProcess) -> set[str]:
    """Which processes have begun to serve."""
    starts = [line for line in gateway.log_lines() if "Started worker" in line["event"]]
    return {line["event"] for line in starts}


def test_metrics_add_up_all_processes(gateway: GatewayProcess) -> None:
    """Whichever is asked, and however the connections were divided."""
    for _ in range(40):
        assert gateway.say("hi").status == 200
    # Each counts together what comes quickly.
    until(lambda: gateway.metric('mesh_requests_total{code="200"}') == 40, 10, "all are counted")
    shown = {gateway.metric('mesh_requests_total{code="200"}') for _ in range(10)}
    assert shown == {40.0}
    assert gateway.metric('mesh_stage_seconds_count{stage="total"}') == 40.0


def test_limits_hold_over_all_processes(gateway: GatewayProcess) -> None:
    """As many requests as one process would take, and the rest is 429."""
    inside = [gateway.send(predict_text("wait 2")) for _ in range(4)]
    until(lambda: gateway.metric("mesh_in_flight") == 4, 10, "all are admitted")
    assert {gateway.say("hi").status for _ in range(10)} == {429}
    assert [receive(connection).status for connection in inside] == 4 * [200]
    until(lambda: gateway.metric("mesh_in_flight") == 0, 10, "all are done")


def test_a_process_that_dies_is_replaced(gateway: GatewayProcess) -> None:
    """What it had admitted is free again, and no count goes back."""
    held = [gateway.send(predict_text("wait 20", "X-Request-Timeout: 30")) for _ in range(4)]
    until(lambda: gateway.metric("mesh_in_flight") == 4, 10, "all are admitted")
    gateway.say("hi")
    until(lambda: gateway.metric('mesh_requests_total{code="429"}') == 1, 10, "it is counted")
    before = {worker.pid for worker in workers(gateway)}
    for worker in workers(gateway):
        worker.kill()
    until(lambda: gateway.metric("mesh_in_flight") == 0, 20, "both places are free again")
    assert not before & {worker.pid for worker in workers(gateway)}
    assert gateway.say("hi").status == 200
    assert gateway.metric('mesh_requests_total{code="429"}') == 1.0
    for connection in held:
        connection.close()


def test_processes_that_die_again_and_again_end_it(gateway: GatewayProcess) -> None:
    """It does not go on as half of itself."""
    first, _ = workers(gateway)
    first.kill()
    until(lambda: first.pid not in {w.pid for w in workers(gateway)}, 10, "it was reaped")
    until(lambda: len(workers(gateway)) == 2, 10, "it was replaced")
    newest = max(workers(gateway), key=psutil.Process.create_time)
    newest.kill()
    assert gateway.wait() == 1


def test_no_request_is_lost_when_it_stops_under_load(gateway: GatewayProcess) -> None:
    """Every client that got through is answered by either process; the others are refused."""
    outcomes: Counter[str] = Counter()

    def ask_until_refused() -> None:
        while True:
            try:
                connection = gateway.connect()
            except ConnectionRefusedError:
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
    assert set(outcomes) <= {"200", "429"}


def test_a_killed_main_process_takes_all_along(gateway: GatewayProcess) -> None:
    """The port is free again: no orphan goes on serving it."""
    left = workers(gateway)
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.wait()
    _, alive = psutil.wait_procs(left, STOP_WAIT)
    assert not alive
