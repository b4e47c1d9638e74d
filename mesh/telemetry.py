"""What a process tells about itself: JSON log lines, and the metrics of a node.

Everything that is logged, by us or by grpc, uvicorn, granian and flask, becomes one JSON line with
`event`, `level`, `logger`, `timestamp`, `service` and, inside a request, `request_id`. A line never
holds what a user sent: log sizes, codes and ids, not content.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Final, TextIO

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from structlog.typing import EventDict, Processor, WrappedLogger

from mesh.lines import Lines

DROPS: Final = ("cancelled", "expired", "overloaded", "closed")
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


def configure_logging(service: str, level: str, pause: float = 0.0) -> None:
    """Write every log line of this process to stdout as JSON, from `level` ("info") up.

    Where many come, those of `pause` seconds are written together. Replaces the root logger's
    handlers. An exception that nobody catches, on any thread, becomes a line as well.
    """
    lines = Lines(_stdout(), pause)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _Stamp(service),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(_as_json)],
        logger_factory=partial(_Logger, lines),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    _route_standard_logging(lines, shared, level)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_on_thread


def _stdout() -> TextIO:
    """Standard output; a process that was started without one has no log."""
    return sys.stdout or open(os.devnull, "w")


def flush_log() -> None:
    """Write what still waits. For a process that ends without the interpreter's own end, too."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class _Logger:
    """Where structlog hands a finished line to: the way out, without what logging does between."""

    def __init__(self, lines: Lines, name: str = "root") -> None:
        self.name = name
        self.debug = partial(lines.take, logging.DEBUG)
        self.info = partial(lines.take, logging.INFO)
        self.warning = partial(lines.take, logging.WARNING)
        self.error = partial(lines.take, logging.ERROR)
        self.critical = partial(lines.take, logging.CRITICAL)


# Methods whose names are not their levels'.
_LEVELS: Final = {"warn": "warning", "exception": "error"}

# For what orjson refuses, and for lines that are not ASCII. Made once: json.dumps would make one
# for each line.
_ENCODER: Final = json.JSONEncoder(default=repr)


def _as_json(event: EventDict, **_: object) -> str:
    """In ASCII, which every stream can write, and in a fifth of the time that json takes."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        options = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
        line = orjson.dumps(event, _plain, options)
        return line.decode() if line.isascii() else _ENCODER.encode(orjson.loads(line))
    try:
        return _ENCODER.encode(event)
    except (TypeError, ValueError, RecursionError):  # No line may fail a request.
        return _ENCODER.encode({str(name): repr(value) for name, value in event.items()})


def _plain(value: object) -> float | str:
    return float(value) if isinstance(value, float) else repr(value)


def _route_standard_logging(lines: Lines, shared: list[Processor], level: str) -> None:
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_as_json),
            ],
        )
    )
    logging.basicConfig(handlers=[lines], level=level.upper(), force=True)
    logging.captureWarnings(True)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Writes level, logger, time and the process's name into a line; what structlog has for each.

    One call, since a request's own line is a good part of what a cached answer costs.
    """

    service: str

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        record = event.get("_record")  # Where the line is of the standard library's logging.
        event["level"] = _LEVELS.get(method, method)
        event["logger"] = record.name if record else logger.name
        if "timestamp" not in event:  # Else it is of before: that line was not written at once.
            event["timestamp"] = timestamp(time.time())
        event["service"] = self.service
        return event


def timestamp(moment: float) -> str:
    """A moment on the clock of time.time(), as lines have it."""
    return f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='microseconds')[:-6]}Z"


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    log = structlog.stdlib.get_logger("uncaught")
    log.critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_uncaught_on_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_type is not SystemExit:  # That ends the thread, and nothing is wrong.
        _log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)


def origin(error: BaseException) -> list[str]:
    """Where an error was raised, innermost last, and its type, but not its message.

    For logging errors that a user's input caused: a library may quote the input in its message.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return [*(f"{frame.filename}:{frame.lineno}" for frame in frames), type(error).__name__]


class NodeMetrics:
    """The metrics of one node, in a registry of its own; also the Batcher's observer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self._batch_items = Histogram(
            "mesh_batch_items",
            "Items in a batch.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._queue_wait = Histogram(
            "mesh_queue_wait_seconds",
            "Time of an item between its preprocessing and the model.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._engine = Histogram(
            "mesh_engine_seconds",
            "Time that a batch takes the model.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._dropped = Counter(
            "mesh_items_dropped",
            "Items that the model never saw, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in DROPS:  # From the start, or Prometheus would not see the first one as a rise.
            self._dropped.labels(reason)
        self._encode_calls = Counter(
            "mesh_encode_calls", "Calls of Encode, of many items each.", registry=registry
        )
        self._classify_calls = Counter(
            "mesh_classify_calls", "Calls of Classify, of many examples each.", registry=registry
        )
        self._items = Counter(
            "mesh_items", "Items answered, by outcome.", ["outcome"], registry=registry
        )

    def ran(self, items: int, seconds: float) -> None:
        """One batch of `items` went through the model."""
        self._batch_items.observe(items)
        self._engine.observe(seconds)

    def waited(self, seconds: float) -> None:
        """One item left the queue for the model."""
        self._queue_wait.observe(seconds)

    def dropped(self, reason: str) -> None:
        """One item won't reach the model, for one of DROPS."""
        self._dropped.labels(reason).inc()

    def encode_called(self) -> None:
        """One call of Encode arrived."""
        self._encode_calls.inc()

    def classify_called(self) -> None:
        """One call of Classify arrived."""
        self._classify_calls.inc()

    def answered(self, outcome: str, items: int = 1) -> None:
        """Items were answered: "OK", or the code of their error."""
        self._items.labels(outcome).inc(items)
