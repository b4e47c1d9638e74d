"""More requests than the mesh can take: some are refused at once, the rest is answered."""

import time
from functools import partial
from typing import Any, Final

import pytest

from cli.topology import NODES
from tests.e2e.asking import Ask, Load, at_once, everything, load, predict, refused
from tests.e2e.conftest import MakeMesh
from tests.e2e.member import http
from tests.e2e.mesh import Mesh

IN_FLIGHT: Final = 8
SECONDS: Final = 10.0
# Seconds that a probe may take. One that waited for the requests to be answered would take longer.
PROMPT: Final = 2.0
# How much higher a process's peak in the last third of the load may be than in the second, after
# the first third has warmed it up. Batches of other sizes and the allocator's habits make a peak
# differ by tens of megabytes; what the caches were given to hold comes on top.
GROWTH: Final = 1.10
SLACK: Final = 32 * 1024 * 1024
PROCESSES: Final = ("gateway", "redis", *NODES)


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process; the gateway takes eight requests at a time."""
    return make_mesh(MESH_MAX_IN_FLIGHT=str(IN_FLIGHT))


def ask_politely(url: str) -> Ask:
    """Asks for three new inputs; whoever is refused takes a breath before it asks again."""

    def ask() -> tuple[int, dict[str, Any]]:
        response = predict(url, everything())
        if response.status_code == 429:
            refused(response, 429)
            assert int(response.headers["Retry-After"]) > 0
            time.sleep(0.05)
        return response.status_code, response.json()

    return ask


def watch(mesh: Mesh, until: float) -> dict[str, int]:
    """The most resident bytes that each process has until then, while the gateway is probed."""
    peaks = dict.fromkeys(PROCESSES, 0)
    while time.monotonic() < until:
        for path in ("/healthz", "/metrics"):
            assert http.get(f"{mesh.url}{path}", timeout=PROMPT).status_code == 200
        peaks = {name: max(peak, mesh[name].rss()) for name, peak in peaks.items()}
    return peaks


def test_twice_the_load_is_refused_in_part_and_answered_in_part(mesh: Mesh) -> None:
    """429 with Retry-After or a whole answer, /healthz always, and no memory that only grows."""
    started = time.monotonic()
    with load(ask_politely(mesh.url), clients=2 * IN_FLIGHT) as result:
        _, early, late = (watch(mesh, started + third * SECONDS / 3) for third in (1, 2, 3))
    check_answers(result)
    grown = {name: late[name] - early[name] * GROWTH for name in PROCESSES}
    assert max(grown.values()) < SLACK, (early, late)


def check_answers(result: Load) -> None:
    """Check that there are refusals and answers, and nothing else."""
    assert result.lost == []
    assert set(result.codes) == {200, 429}
    assert result.codes[200] > IN_FLIGHT
    assert result.degraded == []


def test_a_burst_beyond_the_limit_is_refused_at_once(mesh: Mesh) -> None:
    """Of many requests at the same time at least as many are answered as are admitted."""
    asks = [partial(predict, mesh.url, everything()) for _ in range(4 * IN_FLIGHT)]
    codes = [response.status_code for response in at_once(asks)]
    assert set(codes) == {200, 429}
    assert codes.count(200) >= IN_FLIGHT
    assert mesh["gateway"].metrics().value("mesh_in_flight") == 0
