"""Log lines and metrics, as those who read them see them."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry

from mesh.telemetry import NodeMetrics, configure_logging, flush_log, origin


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Leave the process's logging as it was found; begin with no context of another test's."""
    structlog.contextvars.clear_contextvars()
    root, hook, thread_hook = logging.getLogger(), sys.excepthook, threading.excepthook
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hook, thread_hook
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[dict[str, Any]]:
    """What was logged, parsed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_json_with_service_level_logger_time_and_event(capsys: Capture) -> None:
    """And whatever else was given."""
    configure_logging("text-encoder", "info")
    structlog.stdlib.get_logger("mesh.node").info("ready", grpc_port=1)
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "service": "text-encoder",
        "level": "info",
        "logger": "mesh.node",
        "event": "ready",
        "grpc_port": 1,
    }


def test_lines_of_other_libraries_look_the_same(capsys: Capture) -> None:
    """grpc, uvicorn, granian and flask log through the standard library."""
    configure_logging("text-encoder", "info")
    logging.getLogger("uvicorn.error").warning("port %d", 9090)
    [line] = lines(capsys)
    assert line["event"] == "port 9090"
    assert (line["service"], line["level"]) == ("text-encoder", "warning")
    assert (line["logger"], "timestamp" in line) == ("uvicorn.error", True)


@pytest.mark.parametrize("log", [structlog.stdlib.get_logger("ours"), logging.getLogger("theirs")])
def test_an_exception_is_one_field_of_its_line(capsys: Capture, log: logging.Logger) -> None:
    """With its traceback, but without the values of variables, which may be a user's."""
    configure_logging("text-encoder", "info")
    secret = "user's words"
    try:
        raise ValueError(len(secret))
    except ValueError:
        log.exception("bad")
    [line] = lines(capsys)
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert line["exception"].splitlines()[-1] == "ValueError: 12"
    assert line["level"] == "error"


def test_the_request_id_is_in_every_line_of_its_context(capsys: Capture) -> None:
    """Also in those of other libraries."""
    configure_logging("text-encoder", "info")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.stdlib.get_logger("ours").info("one")
        logging.getLogger("theirs").info("two")
    structlog.stdlib.get_logger("ours").info("three")
    assert [line.get("request_id") for line in lines(capsys)] == ["r-1", "r-1", None]


def test_lines_below_the_level_are_not_written(capsys: Capture) -> None:
    """Whoever logs them."""
    configure_logging("text-encoder", "info")
    structlog.stdlib.get_logger("ours").debug("no")
    logging.getLogger("theirs").debug("no")
    assert lines(capsys) == []


def test_an_exception_that_nobody_catches_is_a_line(capsys: Capture) -> None:
    """The last one of the process."""
    configure_logging("text-encoder", "info")
    error = RuntimeError("the end")
    sys.excepthook(RuntimeError, error, None)
    [line] = lines(capsys)
    assert (line["event"], line["level"]) == ("uncaught_exception", "critical")
    assert "RuntimeError: the end" in line["exception"]


def run_on_a_thread(error: BaseException) -> None:
    """Raise it where nobody catches it."""

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_an_exception_that_nobody_catches_on_a_thread_is_a_line(capsys: Capture) -> None:
    """But not SystemExit, by which a thread may end itself."""
    configure_logging("text-encoder", "info")
    run_on_a_thread(SystemExit(0))
    run_on_a_thread(RuntimeError("the end"))
    [line] = lines(capsys)
    assert (line["event"], line["level"]) == ("uncaught_exception", "critical")
    assert "RuntimeError: the end" in line["exception"]


def test_a_warning_is_a_line(capsys: Capture) -> None:
    """Not text on standard error."""
    configure_logging("text-encoder", "info")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert "old" in lines(capsys)[0]["event"]


def test_the_origin_of_an_error_is_its_place_and_type_without_its_message() -> None:
    """A library may quote the input in the message."""
    try:
        int("user's words")
    except ValueError as error:
        place, kind = origin(error)
    assert "test_telemetry.py" in place
    assert kind == "ValueError"


def test_metrics_count_what_they_are_told() -> None:
    """Under the names that dashboards know."""
    registry = CollectorRegistry()
    metrics = NodeMetrics(registry)
    metrics.ran(4, 0.5)
    metrics.waited(0.25)
    metrics.dropped("expired")
    metrics.encode_called()
    metrics.classify_called()
    metrics.answered("OK", 3)
    expected = {
        "mesh_batch_items_sum": 4,
        "mesh_engine_seconds_sum": 0.5,
        "mesh_queue_wait_seconds_sum": 0.25,
        "mesh_encode_calls_total": 1,
        "mesh_classify_calls_total": 1,
    }
    assert {name: registry.get_sample_value(name) for name in expected} == expected
    assert registry.get_sample_value("mesh_items_dropped_total", {"reason": "expired"}) == 1
    # What has not happened yet is there, too: rates see the first time.
    assert registry.get_sample_value("mesh_items_dropped_total", {"reason": "closed"}) == 0
    assert registry.get_sample_value("mesh_items_total", {"outcome": "OK"}) == 3


def test_two_nodes_of_one_process_have_metrics_of_their_own() -> None:
    """Nothing is registered globally."""
    one, other = NodeMetrics(CollectorRegistry()), NodeMetrics(CollectorRegistry())
    one.encode_called()
    assert other.registry.get_sample_value("mesh_encode_calls_total") == 0


def test_the_end_of_a_process_writes_what_waits(capsys: Capture) -> None:
    """Where many lines came at once."""
    configure_logging("gateway", "info", pause=60.0)
    for number in range(3):
        structlog.stdlib.get_logger("gateway").info("request", number=number)
    flush_log()
    assert [line["number"] for line in lines(capsys)] == [0, 1, 2]


def test_a_field_that_is_no_json_is_told_as_python_shows_it(capsys: Capture) -> None:
    """A line must not fail a request."""
    configure_logging("gateway", "info")
    odd: dict[object, object] = {(1, 2): 3}
    structlog.stdlib.get_logger("gateway").info("request", odd=odd)
    [line] = lines(capsys)
    assert line["odd"] == "{(1, 2): 3}"


def test_a_process_without_standard_output_has_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """And works all the same."""
    monkeypatch.setattr(sys, "stdout", None)
    configure_logging("gateway", "info")
    structlog.stdlib.get_logger("gateway").error("request")


def test_odd_values_are_still_what_they_are(capsys: Capture) -> None:
    """What one library can't write does not change the rest of its line; every line is ASCII."""
    configure_logging("text-encoder", "info")
    log = structlog.stdlib.get_logger("mesh.node")
    log.info("a", size=2**64, path="/\udc80")
    log.info("b", half=np.float64(0.5), none=float("nan"))
    log.info("\u00e9", none=float("inf"), who=RuntimeError("x"))
    said = capsys.readouterr().out
    assert said.isascii()
    first, second, third = map(json.loads, said.splitlines())
    assert (first["event"], first["size"], first["path"]) == ("a", 2**64, "/\udc80")
    assert (second["half"], second["none"]) == (0.5, None)
    assert (third["event"], third["none"], third["who"]) == ("\u00e9", None, "RuntimeError('x')")
