"""Contenders that take turns: in which order, and who has a core meanwhile."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.bench import Plan
from benchmarks.contenders import Serving
from benchmarks.contest import Unfit, blamed_turns
from benchmarks.processes import BenchError, Command, running
from benchmarks.turns import Figures, in_turns


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_each_begins_once_and_its_figure_is_the_mean() -> None:
    """What one leaves behind then meets every other one."""
    order: list[str] = []

    def turn(name: str) -> dict[str, float]:
        order.append(name)
        return {"place": len(order)}

    found = in_turns({name: partial(turn, name) for name in "abc"}, 3)

    assert "".join(order) == "abcbcacab"
    assert found == {
        name: {"place": sum(place for place, who in enumerate(order, 1) if who == name) / 3}
        for name in "abc"
    }


def test_who_fails_in_a_turn_is_named() -> None:
    """For the others to be measured without it."""

    def fails(seconds: float) -> Figures:
        raise BenchError("it answers no more")

    with pytest.raises(Unfit, match="no more") as raised:
        blamed_turns({"frail": fails}, Plan.of(quick=True, runs=1))
    assert raised.value.name == "frail"


def test_what_is_restless_is_stopped_but_in_its_turn(sleeper: subprocess.Popen[bytes]) -> None:
    """And goes on before it is ended, whatever happened: it would not hear of its end."""
    serving = Serving("http://127.0.0.1:9", lambda: 1.0, lambda: [sleeper.pid])
    with contextlib.suppress(LookupError), serving.asleep():
        found = [_status(sleeper)]
        with serving.awake():
            found.append(_status(sleeper))
        found.append(_status(sleeper))
        raise LookupError
    found.append(_status(sleeper))
    assert found == [psutil.STATUS_STOPPED, psutil.STATUS_SLEEPING] * 2


def _status(process: subprocess.Popen[bytes]) -> str:
    """Once the signal has come through."""
    time.sleep(0.05)
    return str(psutil.Process(process.pid).status())


def test_the_end_of_one_leaves_others_whole(tmp_path: Path) -> None:
    """Also what these have started since it began."""
    script = "read line; sleep 60 & echo $!; wait"
    with running(Command(["sh", "-c", script], tmp_path / "one.log", told=True)) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        with running(Command(["sleep", "60"], tmp_path / "other.log")):
            one.stdin.write(b"go\n")
            child = int(one.stdout.readline())
        os.kill(child, signal.SIGTERM)  # It is there.
        one.stdin.close()
        one.stdout.close()
