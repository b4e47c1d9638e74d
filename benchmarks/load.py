"""Load by wrk, the generator, with benchmarks/load.lua, and what it found out.

Closed loop: each connection sends its next request when the last is answered. Open loop: requests
are due at even intervals, whether or not answers come; there are so many connections that one is
always free, and latency counts from when a request was due. What is sent first and last is not
counted: queues fill, and what was due is still to be answered.
"""

import itertools
import json
import math
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.answers import Answers, parse_answers
from benchmarks.bodies import Bodies
from benchmarks.processes import BenchError

SCRIPT: Final = Path(__file__).with_name("load.lua")
# Seconds after which an answer is given up.
PATIENCE: Final = 60
# Connections of an open loop. At 100 requests a second one comes free late only when answers take
# over five seconds.
OPEN_CONNECTIONS: Final = 512
# Seconds in which what was due is answered, before an open loop ends.
TAIL: Final = 2.0
# By how many the requests that are due in some seconds may differ from what their rate says.
ROUNDING: Final = 2
# Seconds between questions whether a server is free.
REST: Final = 0.1
# The share of inputs that are fresh where half of them repeat.
HALF: Final = 0.5
OK: Final = 200
REFUSED: Final = 429
# Numbers of requests, by which fresh inputs are told apart; each run takes the next million.
_starts = itertools.count(secrets.randbelow(1000) * 1_000_000 + 1_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Target:
    """Where bodies are sent, and which."""

    url: str
    bodies: Bodies


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed loop. `fresh` is the share of inputs that no request had before.

    It may be given for each input of a body, in their order.
    """

    connections: int
    seconds: float
    fresh: float | tuple[float, ...] = 1.0

    @property
    def duration(self) -> float:
        """Seconds for which is sent."""
        return self.seconds

    def shares(self, inputs: int) -> tuple[float, ...]:
        """For each of so many inputs."""
        return self.fresh if isinstance(self.fresh, tuple) else (self.fresh,) * inputs


@dataclass(frozen=True, slots=True)
class Open:
    """Open loop of `rate` requests a second, all inputs fresh.

    Those that are due in `seconds` count, after `ramp` in which queues fill.
    """

    rate: float
    seconds: float
    ramp: float
    connections = OPEN_CONNECTIONS

    @property
    def duration(self) -> float:
        """Seconds for which is sent."""
        return self.ramp + self.seconds + TAIL

    def shares(self, inputs: int) -> tuple[float, ...]:
        """For each of so many inputs."""
        return (1.0,) * inputs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a closed loop found: answers, and how many a second; latency in seconds.

    `cpu` is what the generator took, in cores: 0.1 is a tenth of one.
    """

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float


def require_generator() -> None:
    """BenchError where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk, which makes the load, is not installed: apt install wrk")


def closed_loop(target: Target, load: Closed) -> Outcome:
    """Send for some time; BenchError where any answer is not 2xx, or none came.

    Answers are counted from when every connection has had one until the last, so that a slow server
    does not lose what is on its way at the end. Where all inputs repeat, servers are too fast for
    that to matter, and for the script to look at each answer.
    """
    skip = load.connections if load.fresh else 0
    found, cpu = _wrk(target, load, {"rate": "0", "skip": str(skip)})
    if found["refused"] or found["lost"] or not found["requests"]:
        raise BenchError(f"{target.url}: not all requests were answered: {found}")
    return Outcome(found["requests"], _rate(found, skip), found["p50"], found["p99"], cpu)


def send(target: Target, load: Closed) -> int:
    """Send for some time, whatever the answers are; how many of them are 2xx."""
    found, _ = _wrk(target, load, {"rate": "0", "skip": "0"})
    return int(found["requests"] - found["refused"])


def warm_up(target: Target, load: Closed) -> None:
    """Send for some time; none may be answered so soon."""
    send(target, load)


def half_repeating(target: Target, connections: int, seconds: float) -> Outcome:
    """Closed loop in which half of the inputs are fresh; the others have been sent before."""
    send_what_repeats(target, connections, seconds)
    return closed_loop(target, Closed(connections, seconds, fresh=HALF))


def send_what_repeats(target: Target, connections: int, seconds: float) -> None:
    """Send what will repeat in so many seconds, so that it has been sent before."""
    warm_up(target, Closed(connections, seconds / 4, fresh=0))


def _rate(found: dict[str, Any], skip: int) -> float:
    counted = int(found["requests"]) - skip
    if counted > 0 and found["busy"] > 0:
        return counted / float(found["busy"])
    return float(found["requests"] / found["seconds"])


def open_loop(target: Target, load: Open) -> Answers:
    """Send for some time; BenchError where connections broke, or answers are missing at its end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "answers.txt"
        found, cpu = _wrk(target, load, {"rate": f"{load.rate:.3f}", "log": str(log)})
        answers = parse_answers(log.read_text())
    start, end = load.ramp, load.ramp + load.seconds
    came = [answer for answer in answers if start <= answer.at < end]
    due = [answer for answer in answers if start <= answer.due < end]
    if found["lost"] or len(due) < load.rate * load.seconds - ROUNDING:
        raise BenchError(f"{target.url}: {len(due)} answers at {load.rate:.0f}/s: {found}")
    return Answers(came, due, load.seconds, cpu)


def _wrk(target: Target, load: Closed | Open, how: dict[str, str]) -> tuple[dict[str, Any], float]:
    """What the script's last line says, and the generator's CPU in cores."""
    shares = load.shares(target.bodies.inputs)
    given = {
        "bodies": target.bodies.listing,
        "words": target.bodies.words,
        "type": target.bodies.content_type,
        "start": next(_starts),
        "fresh": ",".join(f"{share:g}" for share in shares),
        **how,
    }
    options = [
        "-t1",
        f"-c{load.connections}",
        f"-d{math.ceil(load.duration)}",
        f"--timeout={PATIENCE}",
    ]
    argv = ["wrk", *options, f"-s{SCRIPT}", target.url, "--"]
    argv += [f"{key}={value}" for key, value in given.items()]
    before, start = os.times(), time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - start, os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    _let_finish(target)
    return parse_summary(done.stdout, done.stderr), used / seconds


def _let_finish(target: Target) -> None:
    """Return once one more request is answered: before it the server does what wrk has left there.

    Else the next run's requests came on top of it, and some were refused.
    """
    content = target.bodies.stamped(next(_starts))
    headers = {"Content-Type": target.bodies.content_type}
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                answer = client.post(target.url, content=content, headers=headers)
            except httpx.TransportError:  # What comes next will say why.
                return
            if answer.status_code != REFUSED:
                return
            time.sleep(REST)


def parse_summary(output: str, errors: str) -> dict[str, Any]:
    """The JSON line with which benchmarks/load.lua ends; BenchError where there is none."""
    last = output.rstrip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise BenchError(f"wrk failed: {(errors or output).strip()}")
    found: dict[str, Any] = json.loads(last)
    return found
