"""One input to its embedding, without a wire."""

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import CollectorRegistry

from mesh.embedding import Modality
from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Overloaded, Unavailable
from mesh.item_encoder import ItemEncoder
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from tests.fake_models import PATIENCE, VERSION, FakeEncoder

SETTINGS = NodeSettings(threads=1, max_queue=2)


@pytest.fixture
def metrics() -> NodeMetrics:
    """The node's metrics."""
    return NodeMetrics(CollectorRegistry())


@pytest.fixture
def model() -> FakeEncoder:
    """The encoder's first replica."""
    return FakeEncoder()


@pytest.fixture
async def items(model: FakeEncoder, metrics: NodeMetrics) -> AsyncIterator[ItemEncoder]:
    """At most two items at a time, one thread for preprocessing."""
    made = ItemEncoder([model], SETTINGS, metrics)
    made.start()
    yield made
    model.gate.open()
    model.preprocess_gate.open()
    await made.close(PATIENCE)


def soon(seconds: float = PATIENCE) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def dropped(metrics: NodeMetrics, reason: str) -> float:
    """How many items were dropped for a reason."""
    value = metrics.registry.get_sample_value("mesh_items_dropped_total", {"reason": reason})
    return value or 0.0


async def test_an_input_becomes_an_embedding_of_the_encoders_version(items: ItemEncoder) -> None:
    """With its numbers as little-endian float32."""
    embedding = await items.encode("hello", soon())
    assert (embedding.modality, embedding.version) == (Modality.TEXT, VERSION)
    assert np.frombuffer(embedding.data, "<f4").tolist() == [5, ord("h"), 1]
    assert not embedding.truncated


async def test_a_callers_fault_comes_as_the_encoder_raised_it(items: ItemEncoder) -> None:
    """And the model never sees it."""
    with pytest.raises(InvalidInput, match="nothing to encode"):
        await items.encode("", soon())


async def test_a_crash_in_preprocessing_does_not_quote_the_input(items: ItemEncoder) -> None:
    """It is our fault, and says no more."""
    with pytest.raises(MeshError) as caught:
        await items.encode("crash", soon())
    assert caught.value.message == "preprocessing failed"
    assert caught.value.__cause__ is None


async def test_overload_is_refused_before_preprocessing(
    items: ItemEncoder, model: FakeEncoder
) -> None:
    """Items on the thread, and those that wait for it, hold places."""
    model.preprocess_gate.shut()
    held = [asyncio.create_task(items.encode("x", soon())) for _ in range(2)]
    await model.preprocess_gate.arrival()
    with pytest.raises(Overloaded):
        await items.encode("y", soon())
    model.preprocess_gate.open()
    assert len(await asyncio.gather(*held)) == 2


async def test_an_input_whose_time_is_over_is_not_even_preprocessed(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """It is counted as expired."""
    with pytest.raises(DeadlineExpired):
        await items.encode("late", soon(-1))
    await items.encode("next", soon())
    assert model.batches == [["next"]]
    assert dropped(metrics, "expired") == 1


async def test_an_input_expires_while_it_waits_for_a_thread(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """The slow one before it is not disturbed."""
    model.preprocess_gate.shut()
    slow = asyncio.create_task(items.encode("slow", soon()))
    await model.preprocess_gate.arrival()
    with pytest.raises(DeadlineExpired):
        await items.encode("late", soon(0.02))
    model.preprocess_gate.open()
    await slow
    assert model.batches == [["slow"]]
    assert dropped(metrics, "expired") == 1


async def test_an_input_whose_caller_leaves_during_preprocessing_is_dropped(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """It is counted as cancelled, and its place is free."""
    model.preprocess_gate.shut()
    gone = asyncio.create_task(items.encode("gone", soon()))
    await model.preprocess_gate.arrival()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    model.preprocess_gate.open()
    await asyncio.gather(*(items.encode("stays", soon()) for _ in range(2)))
    assert ["gone"] not in model.batches
    assert dropped(metrics, "cancelled") == 1


async def test_numbers_that_are_not_finite_are_no_embedding(items: ItemEncoder) -> None:
    """Nor would they fit into a cache or an answer."""
    with pytest.raises(MeshError, match="not finite"):
        await items.encode("nan", soon())


async def test_an_array_of_a_wrong_shape_is_no_embedding(
    items: ItemEncoder, model: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model must keep its contract."""

    def forward(batch: object) -> npt.NDArray[np.float32]:
        return np.zeros((1, 4), np.float32)

    wrong = FakeEncoder()
    monkeypatch.setattr(wrong, "forward", forward)
    one = ItemEncoder([wrong], SETTINGS, NodeMetrics(CollectorRegistry()))
    one.start()
    with pytest.raises(MeshError, match="shape"):
        await one.encode("x", soon())
    await one.close(PATIENCE)


async def test_replicas_share_the_work(metrics: NodeMetrics) -> None:
    """While one device is busy, the other one takes the next input."""
    replicas = [FakeEncoder(), FakeEncoder()]
    both = ItemEncoder(replicas, SETTINGS, metrics)
    both.start()
    for replica in replicas:
        replica.gate.shut()
    tasks = [asyncio.create_task(both.encode("one", soon()))]
    await replicas[0].gate.arrival()
    tasks.append(asyncio.create_task(both.encode("two", soon())))
    await replicas[1].gate.arrival()
    assert [replica.batches for replica in replicas] == [[["one"]], [["two"]]]
    for replica in replicas:
        replica.gate.open()
    await asyncio.gather(*tasks)
    await both.close(PATIENCE)


async def test_a_closed_one_refuses(items: ItemEncoder) -> None:
    """With Unavailable, so that gRPC tries another node."""
    await items.close(PATIENCE)
    with pytest.raises(Unavailable):
        await items.encode("x", soon())
