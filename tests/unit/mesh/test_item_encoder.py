"""One input to its embedding, without a wire."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import CollectorRegistry

from mesh.embedding import Embedding, Modality
from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Overloaded, Unavailable
from mesh.item_encoder import Asked, ItemEncoder
from mesh.places import Caller
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from tests.fake_models import PATIENCE, VERSION, FakeEncoder
from tests.unit.mesh.asking import dropped, encode, soon

SETTINGS = NodeSettings(threads=1, max_queue=2)


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


@pytest.fixture
def idle_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs here: a second batch begins where a core is idle."""
    load = tmp_path / "loadavg"
    load.write_text("0.00 0.00 0.00 1/200 4711")
    monkeypatch.setattr("mesh.cores.LOAD", str(load))


@pytest.mark.usefixtures("idle_cores")
async def test_as_many_batches_run_at_a_time_as_there_are_workers(
    model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """Of one replica, here two of one item each."""
    settings = NodeSettings(threads=1, max_batch=1, workers=2)
    made = ItemEncoder([model], settings, metrics)
    made.start()
    model.gate.shut()
    calls = [asyncio.create_task(encode(made, raw, soon())) for raw in ("one", "two")]
    await model.gate.arrival()
    await model.gate.arrival()
    model.gate.open()
    first, second = await asyncio.gather(*calls)
    assert first.data != second.data
    await made.close(PATIENCE)


async def test_an_input_becomes_an_embedding_of_the_encoders_version(items: ItemEncoder) -> None:
    """With its numbers as little-endian float32."""
    embedding = await encode(items, "hello", soon())
    assert (embedding.modality, embedding.version) == (Modality.TEXT, VERSION)
    assert np.frombuffer(embedding.data, "<f4").tolist() == [5, ord("h"), 1]
    assert not embedding.truncated


async def test_a_callers_fault_comes_as_the_encoder_raised_it(items: ItemEncoder) -> None:
    """And the model never sees it."""
    with pytest.raises(InvalidInput, match="nothing to encode"):
        await encode(items, "", soon())


async def test_a_crash_in_preprocessing_does_not_quote_the_input(items: ItemEncoder) -> None:
    """It is our fault, and says no more."""
    with pytest.raises(MeshError) as caught:
        await encode(items, "crash", soon())
    assert caught.value.message == "preprocessing failed"
    assert caught.value.__cause__ is None


async def test_overload_is_refused_before_preprocessing(
    items: ItemEncoder, model: FakeEncoder
) -> None:
    """Items on the thread, and those that wait for it, hold places."""
    model.preprocess_gate.shut()
    held = [asyncio.create_task(encode(items, "x", soon())) for _ in range(2)]
    await model.preprocess_gate.arrival()
    with pytest.raises(Overloaded):
        await encode(items, "y", soon())
    model.preprocess_gate.open()
    assert len(await asyncio.gather(*held)) == 2


async def test_an_input_whose_time_is_over_is_not_even_preprocessed(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """It is counted as expired."""
    with pytest.raises(DeadlineExpired):
        await encode(items, "late", soon(-1))
    await encode(items, "next", soon())
    assert model.batches == [["next"]]
    assert dropped(metrics, "expired") == 1


async def test_an_input_expires_while_it_waits_for_a_thread(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """The slow one before it is not disturbed."""
    model.preprocess_gate.shut()
    slow = asyncio.create_task(encode(items, "slow", soon()))
    await model.preprocess_gate.arrival()
    with pytest.raises(DeadlineExpired):
        await encode(items, "late", soon(0.02))
    model.preprocess_gate.open()
    await slow
    assert model.batches == [["slow"]]
    assert dropped(metrics, "expired") == 1


async def test_an_input_whose_caller_leaves_during_preprocessing_is_dropped(
    items: ItemEncoder, model: FakeEncoder, metrics: NodeMetrics
) -> None:
    """It is counted as cancelled, and its place is free."""
    model.preprocess_gate.shut()
    gone = asyncio.create_task(encode(items, "gone", soon()))
    await model.preprocess_gate.arrival()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    model.preprocess_gate.open()
    await asyncio.gather(*(encode(items, "stays", soon()) for _ in range(2)))
    assert ["gone"] not in model.batches
    assert dropped(metrics, "cancelled") == 1


async def test_numbers_that_are_not_finite_are_no_embedding(items: ItemEncoder) -> None:
    """Nor would they fit into a cache or an answer."""
    with pytest.raises(MeshError, match="not finite"):
        await encode(items, "nan", soon())


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
        await encode(one, "x", soon())
    await one.close(PATIENCE)


@pytest.mark.usefixtures("idle_cores")
async def test_replicas_share_the_work(metrics: NodeMetrics) -> None:
    """While one device is busy, the other one takes the next input."""
    replicas = [FakeEncoder(), FakeEncoder()]
    both = ItemEncoder(replicas, SETTINGS, metrics)
    both.start()
    for replica in replicas:
        replica.gate.shut()
    tasks = [asyncio.create_task(encode(both, "one", soon()))]
    await replicas[0].gate.arrival()
    tasks.append(asyncio.create_task(encode(both, "two", soon())))
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
        await encode(items, "x", soon())


async def test_inputs_of_one_call_have_outcomes_of_their_own(model: FakeEncoder) -> None:
    """In their order; what is good of them shares a batch."""
    metrics = NodeMetrics(CollectorRegistry())
    many = ItemEncoder([model], NodeSettings(threads=2), metrics)
    many.start()
    raws = {"one": soon(), "": soon(), "three": soon(-1), "crash": soon(), "five": soon()}
    outcomes = await many.encode([Asked(raw, Caller(end)) for raw, end in raws.items()])
    kinds = [Embedding, InvalidInput, DeadlineExpired, MeshError, Embedding]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert sorted(model.batches) == [["five"], ["one"]] or model.batches == [["five", "one"]]
    assert dropped(metrics, "expired") == 1
    await many.close(PATIENCE)


async def test_of_too_many_inputs_the_last_are_refused(
    items: ItemEncoder, metrics: NodeMetrics
) -> None:
    """Those for which there are places are encoded."""
    outcomes = await items.encode([Asked(raw, Caller(soon())) for raw in ("a", "b", "c")])
    assert [type(outcome) for outcome in outcomes] == [Embedding, Embedding, Overloaded]
    assert dropped(metrics, "overloaded") == 1
