"""Fusion that dies or hangs: an error in time, and what is cached whole is still answered."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.asking import answered, everything, predict, refused, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.member import http
from tests.e2e.mesh import Mesh
from tests.waiting import within

CACHED = dict.fromkeys(("text", "image", "audio"), "cached")
RECOVERY = 10.0


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process."""
    return make_mesh()


@pytest.fixture(autouse=True)
def comes_back(mesh: Mesh) -> Iterator[None]:
    """Whatever became of fusion: as soon as it is back, requests are answered."""
    yield
    if mesh["fusion"].alive:
        mesh["fusion"].resume()
    mesh["fusion"].start()
    mesh["fusion"].wait_ready()
    within(RECOVERY, lambda: answers(mesh), lambda: "no answer though fusion is back")


def answers(mesh: Mesh) -> bool:
    """Whether a new request is answered."""
    return predict(mesh.url, everything()).status_code == 200


def refused_in_time(mesh: Mesh, status: int, timeout: float) -> None:
    """Check that a new request is refused at its deadline at the latest, give or take a little."""
    started = time.monotonic()
    refused(predict(mesh.url, everything(), timeout=timeout), status)
    assert time.monotonic() - started < timeout + 1


def test_without_fusion_only_cached_results_are_answered(mesh: Mesh) -> None:
    """New requests are 503 and don't hang; cached ones are 200; the gateway is alive, not ready."""
    sent = everything()
    before = answered(predict(mesh.url, sent))
    mesh["fusion"].kill()
    for _ in range(5):
        refused_in_time(mesh, 503, timeout=8)
    after = answered(predict(mesh.url, sent))
    assert statuses(after) == CACHED
    assert after["probabilities"] == before["probabilities"]
    assert after["degraded"] is False
    within(RECOVERY, lambda: not mesh["gateway"].is_ready(), lambda: "it says that it is ready")
    refused(http.get(f"{mesh.url}/readyz"), 503)
    assert http.get(f"{mesh.url}/healthz").status_code == 200


def test_a_fusion_that_hangs_is_a_504_at_the_deadline(mesh: Mesh) -> None:
    """Nobody waits longer than the deadline; cached results are answered as ever."""
    sent = everything()
    answered(predict(mesh.url, sent))
    mesh["fusion"].pause()
    refused_in_time(mesh, 504, timeout=2)
    assert statuses(answered(predict(mesh.url, sent))) == CACHED
