"""What the processes count: calls are shared, equal work is done once, the cache saves calls."""

from functools import partial

import pytest
import redis

from cli.topology import ENCODERS, NODES
from tests.e2e.asking import answered, at_once, everything, predict, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.inputs import new_text
from tests.e2e.mesh import Mesh
from tests.waiting import within

CACHED = dict.fromkeys(("text", "image", "audio"), "cached")


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each node, and two gateways."""
    return make_mesh(gateways=2)


def counts(mesh: Mesh) -> dict[str, float]:
    """How many calls the nodes and Redis have had, and how many items and batches there were."""
    calls = {
        "Encode": mesh.total(ENCODERS, "mesh_encode_calls_total"),
        "Classify": mesh.total(["fusion"], "mesh_classify_calls_total"),
        "encoded": mesh.total(ENCODERS, "mesh_items_total", outcome="OK"),
        "batches": mesh.total(["text-encoder"], "mesh_batch_items_count"),
        "batched": mesh.total(["text-encoder"], "mesh_batch_items_sum"),
        "sent Encode": mesh.total(["gateway"], "mesh_encode_calls_total"),
        "sent Classify": mesh.total(["gateway"], "mesh_classify_calls_total"),
    }
    with redis.Redis.from_url(mesh["redis"].process.ready_url) as client:
        commands = client.info("commandstats")
    return calls | {"MGET": commands.get("cmdstat_mget", {}).get("calls", 0)}


def since(mesh: Mesh, before: dict[str, float]) -> dict[str, float]:
    """What was counted since."""
    return {name: value - before[name] for name, value in counts(mesh).items()}


def test_concurrent_requests_share_calls_and_batches(mesh: Mesh) -> None:
    """64 distinct requests at once make fewer than 64 Encode calls, and batches of several."""
    before = counts(mesh)
    asks = [partial(predict, mesh.url, {"text": new_text()}) for _ in range(64)]
    for response in at_once(asks):
        answered(response)
    counted = since(mesh, before)
    assert counted["encoded"] == 64
    assert counted["Encode"] == counted["sent Encode"] < 64
    assert counted["batched"] / counted["batches"] > 1


def test_equal_requests_at_once_are_encoded_once(mesh: Mesh) -> None:
    """50 times the same three inputs make one encoding of each."""
    sent, before = everything(), counts(mesh)
    first, *others = (answered(r) for r in at_once([partial(predict, mesh.url, sent)] * 50))
    assert all(
        other["probability"] == pytest.approx(first["probability"], abs=1e-5) for other in others
    )
    assert since(mesh, before)["encoded"] == 3


def test_a_wholly_cached_request_calls_nobody(mesh: Mesh) -> None:
    """But Redis, the first time that it is asked for again; from then on not even that."""
    sent = everything()
    answered(predict(mesh.url, sent))
    for most in (1, 0):
        before = counts(mesh)
        assert statuses(answered(predict(mesh.url, sent))) == CACHED
        counted = since(mesh, before)
        assert counted.pop("MGET") <= most
        assert set(counted.values()) == {0}


def test_a_request_costs_one_mget(mesh: Mesh) -> None:
    """Result and three embeddings are looked up in one command."""
    before = counts(mesh)
    answered(predict(mesh.url, everything()))
    counted = since(mesh, before)
    assert counted["MGET"] == 1
    assert counted["Encode"] == 3
    assert counted["Classify"] == 1


def test_gateways_share_what_is_cached(mesh: Mesh) -> None:
    """What one gateway was told another finds by one MGET, and makes no gRPC call."""
    shared: list[dict[str, float]] = []

    def find() -> bool:
        # On a busy machine a look-up may be given up, or come before the write: then once more.
        sent = everything()
        answered(predict(mesh.url, sent))
        before = counts(mesh)
        answer = answered(predict(mesh["gateway-2"].url, sent))
        shared.append(since(mesh, before))
        return statuses(answer) == CACHED

    within(10, find, lambda: f"nothing is shared: {shared}")
    assert {name: count for name, count in shared[-1].items() if count} == {"MGET": 1}


def test_hits_and_misses_are_counted_by_modality(mesh: Mesh) -> None:
    """A new request misses its result and each modality; the same again hits its result."""
    before = mesh["gateway"].metrics()
    sent = everything()
    for _ in range(2):
        answered(predict(mesh.url, sent))
    after = mesh["gateway"].metrics()

    def counted(modality: str, result: str) -> float:
        labels = {"modality": modality, "result": result}
        return after.value("mesh_cache_total", **labels) - before.value(
            "mesh_cache_total", **labels
        )

    assert counted("result", "miss") == counted("result", "hit") == 1
    assert [counted(name, "miss") for name in CACHED] == [1, 1, 1]
    assert [counted(name, "hit") for name in CACHED] == [0, 0, 0]


def test_nodes_count_what_they_do(mesh: Mesh) -> None:
    """Each node's run of its model is observed with its items, its wait and its time."""
    before = {name: mesh[name].metrics() for name in NODES}
    answered(predict(mesh.url, everything()))
    for name in NODES:
        after = mesh[name].metrics()
        for metric in ("batch_items", "queue_wait_seconds", "engine_seconds"):
            key = f"mesh_{metric}_count"
            assert after.value(key) - before[name].value(key) == 1
