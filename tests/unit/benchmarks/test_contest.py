"""Servers that fail while they are measured beside others."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Plan
from benchmarks.bodies import MULTIPART
from benchmarks.contenders import Contender, Serving
from benchmarks.contest import TRIES, Contest, Unfit, blaming
from benchmarks.processes import BenchError
from benchmarks.results import Results
from benchmarks.turns import Figures


class Server:
    """One that comes up, but for a frail one."""

    def __init__(self, name: str, frail: bool = False) -> None:
        self.starts = 0
        self._frail = frail
        self.contender = Contender(name, MULTIPART, self._start)

    @contextlib.contextmanager
    def _start(self) -> Iterator[Serving]:
        self.starts += 1
        if self._frail:
            raise BenchError("its workers have ended")
        yield Serving("http://127.0.0.1:9", lambda: 1.0)


def starting(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """Start all of them together; one figure each."""
    with contextlib.ExitStack() as stack:
        for one in contenders:
            with blaming(one.name):
                stack.enter_context(one.start())
        return {(f"{one.name}: throughput", "requests/s"): 1.0 for one in contenders}


@pytest.fixture
def said() -> list[str]:
    """What the bench told meanwhile."""
    return []


@pytest.fixture
def contest(tmp_path: Path, said: list[str]) -> Contest:
    """One without contenders yet."""
    plan, results = Plan.of(quick=True, runs=1), Results(tmp_path / "results.json")
    record = results.begin("peers", {"commit": "abc"}, plan.plain())
    return Contest(Bench(plan, tmp_path, results, record, said.append))


def test_a_server_that_fails_is_begun_again_a_few_times(contest: Contest, said: list[str]) -> None:
    """Then it is left out, with the reason, and the others are measured without it, for good."""
    frail, firm = Server("frail", frail=True), Server("firm")
    for _ in range(2):
        contest.add([firm.contender, frail.contender], starting)
    assert frail.starts == TRIES
    assert firm.starts == TRIES + 2
    assert sum("again" in line for line in said) == TRIES - 1
    record = contest.bench.record
    assert record.values("frail: throughput") == []
    assert record.values("firm: throughput") == [1.0, 1.0]
    section = contest.bench.results.sections["peers"]
    assert section.facts["left out: frail"] == "its workers have ended"


def test_nobody_is_left_out_for_what_is_not_theirs(contest: Contest) -> None:
    """Without the ceiling there is nothing to measure beside."""

    def without_ceiling(contest: Contest, contenders: Sequence[Contender]) -> Figures:
        with blaming("mesh"), blaming("ceiling"):
            raise BenchError("it ended")

    with pytest.raises(Unfit, match="it ended") as raised:
        contest.add([Server("mesh").contender], without_ceiling)
    assert raised.value.name == "ceiling"
    assert not contest.left_out
