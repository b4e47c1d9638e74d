"""Processes that are told to stop while requests come in, a second one of each standing.

Lost would be a request that the gateway began to read and did not answer, and any call between the
gateway and the nodes: such a one would show as a degraded answer or as an error.
"""

from collections.abc import Iterator

import httpx
import pytest

from cli.topology import NODES
from tests.e2e.asking import Load, answered, ask_in_turn, everything, load, predict
from tests.e2e.conftest import MakeMesh
from tests.e2e.member import Member, http
from tests.e2e.mesh import Mesh
from tests.waiting import within

CLIENTS = 4


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """Two of each process."""
    return make_mesh(replicas=2, gateways=2)


@pytest.fixture
def under_load(mesh: Mesh) -> Iterator[Load]:
    """A steady load on the first gateway, or on the second where the first refuses."""
    urls = [mesh[name].url for name in mesh.names("gateway")]
    with load(ask_in_turn(urls), CLIENTS) as result:
        result.wait_for(10)
        yield result


@pytest.mark.parametrize("name", NODES)
def test_a_node_that_is_told_to_stop_loses_nothing(mesh: Mesh, under_load: Load, name: str) -> None:
    """It was at work, says that it is not ready any more, finishes, and ends with 0."""
    leaving = mesh[f"{name}-2"]
    within(10, lambda: has_served(leaving), lambda: "it had nothing to do")
    leaving.terminate()
    within(10, lambda: says_draining(leaving.url), lambda: "it did not say that it drains")
    assert leaving.wait_ended() == 0
    under_load.wait_for(10)
    under_load.require_whole()
    assert mesh.total(mesh.names("gateway"), "mesh_degraded_total") == 0


def has_served(node: Member) -> bool:
    """Whether a node has answered items."""
    return node.metrics().value("mesh_items_total", outcome="OK") > 0


def says_draining(url: str) -> bool:
    """Whether a process is alive and says that it is not ready."""
    return http.get(f"{url}/readyz").status_code == 503


def test_a_gateway_that_is_told_to_stop_loses_nothing(mesh: Mesh, under_load: Load) -> None:
    """It says 503 and closes connections while it goes on to answer, then refuses, then ends."""
    gateway = mesh["gateway"]
    gateway.terminate()
    within(10, lambda: says_draining(gateway.url), lambda: "it did not say that it drains")
    last = predict(gateway.url, everything())
    answered(last)
    assert last.headers["Connection"] == "close"
    assert gateway.wait_ended() == 0
    with pytest.raises(httpx.ConnectError):
        http.get(f"{gateway.url}/healthz")
    under_load.wait_for(10)
    under_load.require_whole()
