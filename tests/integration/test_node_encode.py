"""mesh.v1.Encoder over a real port, with a fake model behind it."""

import asyncio
import math
import struct

import grpc
import pytest

from mesh.embedding import Modality
from mesh.encoder_service import MAX_ITEMS
from mesh.node import Service
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.v1 import embedding_pb2, encoder_pb2_grpc
from mesh.v1 import encoder_pb2 as pb
from tests.fake_models import PATIENCE, VERSION, FakeEncoder
from tests.running_node import RunningNode, codes, encode, encoder_load, item, running


class TestDescribe:
    """What an encoder tells of itself."""

    async def test_describe_tells_what_a_client_must_know(self, node: RunningNode) -> None:
        """Modality, version, dim, limits and the size of a batch."""
        stub = encoder_pb2_grpc.EncoderStub(node.channel)
        answer = await stub.Describe(pb.EncoderDescribeRequest())
        assert answer.modality == embedding_pb2.MODALITY_TEXT
        assert answer.version == VERSION
        assert answer.dim == 3
        assert dict(answer.limits) == {"characters": 100}
        assert answer.batch_items == 32


class TestEncode:
    """What becomes of the items of a call."""

    async def test_each_item_gets_its_own_embedding_in_the_order_of_the_items(
        self, node: RunningNode
    ) -> None:
        """Whatever their sizes; the numbers are little-endian float32."""
        texts = ["a" * length for length in (30, 1, 7, 49, 2)]
        results = await encode(node, *map(item, texts))
        for text, result in zip(texts, results, strict=True):
            embedding = result.embedding
            assert struct.unpack("<3f", embedding.data) == (len(text), ord("a"), 1)
            assert (embedding.version, embedding.dim) == (VERSION, 3)
            assert embedding.modality == embedding_pb2.MODALITY_TEXT
            assert embedding.dtype == embedding_pb2.D_TYPE_FLOAT32

    async def test_an_answer_tells_which_replica_it_is_from(self, node: RunningNode) -> None:
        """By the same number each time, for callers to count replicas."""
        stub = encoder_pb2_grpc.EncoderStub(node.channel)
        answers = [await stub.Encode(pb.EncodeRequest(items=[item(text)])) for text in "ab"]
        assert answers[0].replica == answers[1].replica != 0

    async def test_an_embedding_tells_that_its_input_was_cut(self, node: RunningNode) -> None:
        """And one that was not cut says so."""
        results = await encode(node, item("x" * 60), item("x"))
        assert [result.embedding.truncated for result in results] == [True, False]

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (item(""), "CODE_INVALID"),
            (item("x" * 101), "CODE_TOO_LARGE"),
            (item("unsupported"), "CODE_UNSUPPORTED"),
            (item("crash"), "CODE_INTERNAL"),
            (item("broken"), "CODE_INTERNAL"),
            (item("nan"), "CODE_INTERNAL"),
            (pb.Item(media=b"bytes", timeout=1), "CODE_INVALID"),
            (pb.Item(timeout=1), "CODE_INVALID"),
            (pb.Item(text="x"), "CODE_EXPIRED"),
            (item("x", timeout=-1), "CODE_EXPIRED"),
            (item("x", timeout=-math.inf), "CODE_EXPIRED"),
            (item("x", timeout=math.nan), "CODE_INVALID"),
        ],
    )
    async def test_one_bad_item_never_fails_its_neighbours(
        self, node: RunningNode, bad: pb.Item, code: str
    ) -> None:
        """It has an error with its own code, and they have embeddings."""
        results = await encode(node, item("good"), bad, item("fine"))
        assert codes(results) == ["OK", code, "OK"]
        assert node.metric("mesh_items_total", outcome="OK") == 2
        assert node.metric("mesh_items_total", outcome=code.removeprefix("CODE_")) == 1

    async def test_an_error_of_ours_does_not_quote_the_input(self, node: RunningNode) -> None:
        """A library's message may hold what the user sent."""
        [result] = await encode(node, item("crash"))
        assert result.error.message == "preprocessing failed"

    async def test_an_unbounded_timeout_is_taken_as_the_longest(self, node: RunningNode) -> None:
        """Infinity is no reason to refuse."""
        assert codes(await encode(node, item("x", timeout=math.inf))) == ["OK"]

    async def test_an_encoder_of_media_takes_bytes_and_refuses_text(self) -> None:
        """The payload must be of the encoder's kind."""
        async with running(encoder_load(FakeEncoder(Modality.IMAGE))) as node:
            results = await encode(node, pb.Item(media=b"\x07bytes", timeout=1), item("text"))
        assert codes(results) == ["OK", "CODE_INVALID"]
        assert struct.unpack("<3f", results[0].embedding.data) == (6, 7, 1)

    async def test_a_call_without_items_has_no_results(self, node: RunningNode) -> None:
        """And that is no error."""
        assert await encode(node) == []

    async def test_a_call_of_more_items_than_allowed_is_refused(self, node: RunningNode) -> None:
        """As the caller's fault."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await encode(node, *[item("x")] * (MAX_ITEMS + 1))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_a_message_may_be_as_large_as_a_body(self, node: RunningNode) -> None:
        """Not only gRPC's 4 MB: the encoder itself decides what is too large."""
        assert codes(await encode(node, item("x" * 8_000_000))) == ["CODE_TOO_LARGE"]

    async def test_concurrent_calls_share_batches(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """While the model is busy with one, the others gather."""
        encoder.gate.shut()
        calls = [asyncio.create_task(encode(node, item("first")))]
        await encoder.gate.arrival()
        calls += [asyncio.create_task(encode(node, item(f"{n}"))) for n in range(20)]
        for _ in range(21):
            await encoder.preprocess_gate.arrival()
        encoder.gate.open()
        assert [codes(results) for results in await asyncio.gather(*calls)] == [["OK"]] * 21
        assert node.metric("mesh_encode_calls_total") == 21
        assert node.metric("mesh_batch_items_sum") == 21
        assert node.metric("mesh_batch_items_count") < 21


class TestStatuses:
    """What a call that fails as a whole shows."""

    async def test_a_fault_of_ours_is_internal_and_tells_nothing(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """The text of an exception is for the log."""
        encoder.dim = "not a number"  # type: ignore[assignment]
        stub = encoder_pb2_grpc.EncoderStub(node.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Describe(pb.EncoderDescribeRequest())
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert caught.value.details() == "internal error"

    async def test_a_node_that_is_closing_is_unavailable_as_a_whole(
        self, encoder: FakeEncoder
    ) -> None:
        """So that gRPC tries the call at another node."""
        services: list[Service] = []

        def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
            services.append(encoder_load(encoder)(settings, metrics))
            return services[0]

        async with running(load) as node:
            await services[0].close(PATIENCE)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await encode(node, item("x"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    async def test_an_unknown_method_is_unimplemented(self, node: RunningNode) -> None:
        """As gRPC has it."""
        call = node.channel.unary_unary("/mesh.v1.Encoder/Decode")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
