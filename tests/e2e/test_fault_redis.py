"""Redis that dies, hangs and comes back: it costs hits, never answers."""

import pytest

from tests.e2e.asking import answered, ask_all, everything, load, predict, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.mesh import Mesh
from tests.waiting import within

CACHED = dict.fromkeys(("text", "image", "audio"), "cached")
RECOVERY = 10.0


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process; without a cache of the gateway's own, so that every hit is Redis's."""
    return make_mesh(MESH_CACHE_LRU_BYTES="0")


def hits(mesh: Mesh) -> bool:
    """Whether a request is cached once it was answered."""
    sent = everything()
    answered(predict(mesh.url, sent))
    return statuses(answered(predict(mesh.url, sent))) == CACHED


def require_hits(mesh: Mesh) -> None:
    """AssertionError where hits don't return."""
    within(RECOVERY, lambda: hits(mesh), lambda: "nothing is cached")


def test_redis_killed_under_load_costs_no_request(mesh: Mesh) -> None:
    """Every request is answered whole while Redis is away, and hits return with it."""
    require_hits(mesh)
    with load(ask_all(mesh.url), clients=4) as result:
        result.wait_for(10)
        mesh["redis"].kill()
        result.wait_for(20)
        mesh["redis"].start()
        mesh["redis"].wait_ready()
        result.wait_for(10)
    result.require_whole()
    assert mesh["gateway"].metrics().value("mesh_cache_errors_total") > 0
    require_hits(mesh)


def test_redis_that_hangs_costs_no_request(mesh: Mesh) -> None:
    """A Redis that takes connections and never answers is not waited for."""
    require_hits(mesh)
    with load(ask_all(mesh.url), clients=4) as result:
        result.wait_for(5)
        mesh["redis"].pause()
        result.wait_for(20)
        mesh["redis"].resume()
        result.wait_for(5)
    result.require_whole()
    require_hits(mesh)


def test_the_gateway_is_ready_without_redis(mesh: Mesh) -> None:
    """Nobody is sent away because only the cache is gone."""
    mesh["redis"].kill()
    answered(predict(mesh.url, everything()))
    assert mesh["gateway"].is_ready()
    mesh["redis"].start()
    mesh["redis"].wait_ready()
