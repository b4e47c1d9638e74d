"""Calls that fail as a whole: what becomes of the rest of their items."""

import asyncio

import grpc
import pytest

from mesh.encoding import Raw
from mesh.node import Service
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.v1 import embedding_pb2, fusion_pb2_grpc
from mesh.v1 import fusion_pb2 as pb
from tests.fake_models import PATIENCE, VERSION, FakeClassifier, FakeEncoder, FakeItem
from tests.running_node import encode, encoder_load, fusion_load, item, running


class SlowReader(FakeEncoder):
    """Lets everything through the preprocessing gate but "slow"."""

    def preprocess(self, raw: Raw) -> FakeItem:
        """Wait for the gate where it is "slow"."""
        return super().preprocess(raw) if raw == "slow" else FakeItem(raw, truncated=False)


async def test_items_of_an_encode_that_is_unavailable_do_not_go_on() -> None:
    """The caller sends all of them to another node."""
    services: list[Service] = []
    encoder = SlowReader()

    def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
        services.append(encoder_load(encoder)(settings, metrics))
        return services[0]

    async with running(load, threads=2) as node:
        encoder.gate.shut()
        encoder.preprocess_gate.shut()
        call = asyncio.create_task(encode(node, item("quick"), item("slow")))
        await encoder.gate.arrival()
        await encoder.preprocess_gate.arrival()
        await services[0].close(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await node.next_drop() == "cancelled"
        encoder.gate.open()
        encoder.preprocess_gate.open()


def classify_request(examples: int) -> pb.ClassifyRequest:
    """A call of some examples, all the same."""
    numbers = bytes(12)
    text = embedding_pb2.Embedding(
        modality="MODALITY_TEXT", version=VERSION, dtype="D_TYPE_FLOAT32", dim=3, data=numbers
    )
    return pb.ClassifyRequest(examples=[pb.Example(embeddings=[text])] * examples)


async def test_examples_of_a_classify_that_is_refused_leave_the_queue() -> None:
    """One that finds no place fails the call, and the model never sees the others."""
    classifier = FakeClassifier()
    async with running(fusion_load(classifier), max_queue=2) as node:
        stub = fusion_pb2_grpc.FusionStub(node.channel)
        classifier.gate.shut()
        held = asyncio.create_task(_classify(stub, 1))
        await classifier.gate.arrival()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _classify(stub, 2)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [await node.next_drop() for _ in range(2)] == ["overloaded", "cancelled"]
        classifier.gate.open()
        assert await held == 1
        assert classifier.batches == [1]


async def _classify(stub: fusion_pb2_grpc.FusionStub, examples: int) -> int:
    answer = await stub.Classify(classify_request(examples), timeout=PATIENCE)
    return len(answer.classifications)
