"""Servers that fail while they are measured."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Plan
from benchmarks.bodies import MULTIPART
from benchmarks.contenders import Contender, Serving
from benchmarks.processes import BenchError
from benchmarks.results import Results
from benchmarks.sections.peers import TRIES, _measure


class Frail:
    """A server that never comes up."""

    def __init__(self) -> None:
        self.starts = 0

    @contextlib.contextmanager
    def start(self) -> Iterator[Serving]:
        """Fail."""
        self.starts += 1
        raise BenchError("its workers have ended")
        yield


def test_a_server_that_fails_is_started_again_a_few_times(tmp_path: Path) -> None:
    """Then its last error says why it is left out, and it has no figures."""
    plan, said = Plan.of(quick=True, runs=1), list[str]()
    results = Results(tmp_path / "results.json")
    record = results.begin("peers", {"commit": "abc"}, plan.plain())
    bench, frail = Bench(plan, tmp_path, results, record, said.append), Frail()

    with pytest.raises(BenchError, match="its workers have ended"):
        _measure(bench, Contender("frail", MULTIPART, frail.start), [])

    assert frail.starts == TRIES
    assert sum("again" in line for line in said) == TRIES - 1
    assert not results.values("peers", "frail: throughput")
