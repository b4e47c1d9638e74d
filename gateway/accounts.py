"""What is counted and logged of every answer, for those of a moment together.

Nobody waits for it, and with other work between it would take three times as long each time.
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from gateway.metrics import GatewayMetrics
from mesh.later import Later
from mesh.telemetry import flush_log, timestamp

log = structlog.stdlib.get_logger("gateway")

# Characters of a path that are logged.
MOST_PATH: Final = 200


class Told(Protocol):
    """What an exchange tells of itself; `arrived` is on the clock of time.monotonic()."""

    method: str
    path: str
    request_id: str
    arrived: float
    # Seconds that it took to recall the answer, None where that was not possible.
    recalled: float | None

    @property
    def is_question(self) -> bool:
        """Whether it asks for a class."""


class _Answer(NamedTuple):
    """`seconds` after its question arrived it left, at `left` by time.time()."""

    is_question: bool
    recalled: float | None
    request_id: str
    method: str
    path: str
    status: int
    seconds: float
    left: float


class Accounts:
    """Safe to use from any thread."""

    def __init__(self, metrics: GatewayMetrics, pause: float) -> None:
        """`pause` is how many seconds' answers are told of together, at most."""
        self._metrics = metrics
        self._answers = Later(self._tell_all, pause, "accounts")
        # Looked up once.
        self._log = log.bind()
        self._total = metrics.stages["total"]

    def take(self, exchange: Told, status: int) -> None:
        """One answer, which leaves now."""
        # Without the exchange, which holds the body's stream.
        self._answers.take(
            _Answer(
                exchange.is_question,
                exchange.recalled,
                exchange.request_id,
                exchange.method,
                exchange.path[:MOST_PATH],
                status,
                time.monotonic() - exchange.arrived,
                time.time(),
            )
        )

    def settle(self) -> None:
        """Count and log all that left until now."""
        self._answers.flush()

    def _tell_all(self, answers: Sequence[_Answer]) -> None:
        for answer in answers:
            try:
                self._tell(answer)
            except Exception:  # Others' must not be lost for it.
                log.exception("answer_not_counted", request_id=answer.request_id)
        flush_log()  # Else lines that have waited would wait for others once more.

    def _tell(self, answer: _Answer) -> None:
        if answer.is_question:
            self._metrics.answered(answer.status)
            self._total.observe(answer.seconds)
        if answer.recalled is not None:
            self._metrics.recalled(answer.recalled)
        self._log.info(
            "request",
            request_id=answer.request_id,
            method=answer.method,
            path=answer.path,
            status=answer.status,
            seconds=round(answer.seconds, 6),
            timestamp=timestamp(answer.left),
        )
