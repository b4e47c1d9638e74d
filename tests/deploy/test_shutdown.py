"""The whole mesh is told to stop while requests come in. It runs last: it ends what others use."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import httpx

from tests.deploy.stack import SERVICES, Stack, note
from tests.e2e.asking import everything, load, predict

# Seconds: the gateway's grace and a node's, as docker-compose.yml gives them.
GRACE = 75.0 + 30.0
# What an exit by SIGTERM looks like, where the process did its work before it ended.
ENDED = {0, 143}


@dataclass
class Asked:
    """What became of each request, by its id: when it began, and whether it was answered."""

    began: dict[str, float] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def ask(self, url: str) -> tuple[int, dict[str, Any]]:
        """One request, of new inputs."""
        name = uuid4().hex
        with self.lock:
            self.began[name] = time.monotonic()
        response = predict(url, everything(), request_id=name)
        with self.lock:
            self.answered.add(name)
        return response.status_code, response.json()


def test_stopping_loses_no_request(stack: Stack, figures: list[str], tmp_path: Path) -> None:
    """What the gateway has taken in is answered, whole; the rest is refused before it is read."""
    asked, log = Asked(), tmp_path / "gateway.log"
    with (
        log.open("w") as output,
        stack.following("gateway", output),
        load(lambda: asked.ask(stack.url), clients=4, pause=0.05) as under_load,
    ):
        under_load.wait_for(10)
        stopped = time.monotonic()
        stack.compose("stop")
        seconds = time.monotonic() - stopped
    note(figures, f"stop of all, under load: {seconds:.1f} s, {len(under_load.answers)} answered")
    assert seconds < GRACE
    assert (under_load.refused, under_load.degraded) == ([], [])
    lost = asked.began.keys() - asked.answered
    assert [name for name in lost if asked.began[name] <= stopped] == []
    assert [name for name in lost if name in log.read_text()] == []
    assert {stack.exit_code(service) for service in SERVICES} <= ENDED


def test_down_leaves_nothing(stack: Stack) -> None:
    """No container, no network, no port."""
    stack.down()
    assert stack.compose("ps", "--all", "--quiet") == ""
    try:
        httpx.get(f"{stack.url}/healthz", timeout=2)
    except httpx.HTTPError:
        return
    raise AssertionError("something answers")
