"""What is counted and logged of answers, at once or together."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog

from gateway.accounts import Accounts
from gateway.metrics import GatewayMetrics
from tests.fake_models import PATIENCE


@dataclass
class Exchange:
    """One of a request for a class."""

    request_id: str
    arrived: float
    recalled: float | None = None
    path: str = "/predict"
    method: str = "POST"
    is_question: bool = True


@pytest.fixture
def lines() -> Iterator[list[dict[str, object]]]:
    """All that is logged."""
    with structlog.testing.capture_logs() as logs:
        yield logs


def count(metrics: GatewayMetrics, name: str, **labels: str) -> float:
    """The value of one series."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


def exchange(number: int, recalled: float | None = None) -> Exchange:
    """One that arrived a second ago."""
    return Exchange(f"r-{number}", time.monotonic() - 1, recalled)


def test_an_answer_is_told_of_at_once_where_few_come(
    metrics: GatewayMetrics, lines: list[dict[str, object]]
) -> None:
    """Whoever watches a quiet gateway sees what happens when it happens."""
    Accounts(metrics, PATIENCE).take(exchange(1), 200)
    [line] = lines
    assert (line["request_id"], line["status"]) == ("r-1", 200)
    assert 1 <= float(str(line["seconds"])) < 1 + PATIENCE
    assert count(metrics, "mesh_requests_total", code="200") == 1


def test_those_of_a_moment_are_told_of_together(
    metrics: GatewayMetrics, lines: list[dict[str, object]]
) -> None:
    """In their order, each with the time at which it left, and all that is to be counted."""
    accounts = Accounts(metrics, PATIENCE)
    for number in range(4):
        accounts.take(exchange(number, recalled=0.25 if number % 2 else None), 200 + number)
    assert len(lines) == 1
    accounts.settle()
    assert [line["request_id"] for line in lines] == [f"r-{number}" for number in range(4)]
    stamps = [str(line["timestamp"]) for line in lines]
    assert stamps == sorted(stamps)
    assert count(metrics, "mesh_requests_total", code="203") == 1
    assert count(metrics, "mesh_cache_total", modality="result", result="hit") == 2
    assert count(metrics, "mesh_stage_seconds_sum", stage="cache") == pytest.approx(0.5)
    assert count(metrics, "mesh_stage_seconds_count", stage="total") == 4


def test_nobody_needs_to_ask_for_it(
    metrics: GatewayMetrics, lines: list[dict[str, object]]
) -> None:
    """What waits is told of after the pause."""
    accounts = Accounts(metrics, 0.05)
    for number in range(3):
        accounts.take(exchange(number), 200)
    end = time.monotonic() + PATIENCE
    while len(lines) < 3 and time.monotonic() < end:
        time.sleep(0.005)
    assert len(lines) == 3


def test_one_that_can_not_be_counted_costs_no_other(
    metrics: GatewayMetrics, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where the folder of several processes' counts is full; it is logged."""
    answered = metrics.answered

    def broken(status: int) -> None:
        if status == 500:
            raise OSError("no space left")
        answered(status)

    monkeypatch.setattr(metrics, "answered", broken)
    accounts = Accounts(metrics, PATIENCE)
    for status in (200, 500, 200):
        accounts.take(exchange(status), status)
    accounts.settle()
    assert count(metrics, "mesh_requests_total", code="200") == 2
    assert [line["event"] for line in lines] == ["request", "answer_not_counted", "request"]
