"""Single items in calls of many: broken ones, cancelled ones, and those whose time is over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np
import pytest
from PIL import Image

from cli.topology import ENCODERS, node_target
from mesh.settings import NodeSettings
from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc as rpc
from tests.e2e.asking import answered, at_once, predict, refused
from tests.e2e.inputs import IMAGE, new_audio, new_image, new_text
from tests.e2e.member import Member
from tests.e2e.mesh import Mesh
from tests.media import encoded
from tests.waiting import within

LONG = " and again" * 500
# Long texts that keep the model busy for some seconds.
BUSY = 160
# As many items as a node holds at a time.
QUEUE = NodeSettings.model_fields["max_queue"].default


@dataclass
class Node:
    """One encoder as a caller of gRPC sees it."""

    member: Member
    stub: rpc.EncoderStub

    def encode(self, items: Sequence[pb.Item]) -> Sequence[pb.Result]:
        """The results of one call."""
        results: Sequence[pb.Result] = self.stub.Encode(pb.EncodeRequest(items=items)).results
        return results

    def send(self, items: Sequence[pb.Item]) -> grpc.Future:
        """A call that goes on by itself; returns once it has arrived."""
        before = self.count("mesh_encode_calls_total")
        call: grpc.Future = self.stub.Encode.future(pb.EncodeRequest(items=items), timeout=60)
        arrived = partial(self.count, "mesh_encode_calls_total")
        within(10, lambda: arrived() > before, lambda: "the call did not arrive")
        return call

    def count(self, metric: str, **labels: str) -> float:
        """One of its counters."""
        return self.member.metrics().value(metric, **labels)


def open_node(member: Member) -> Iterator[Node]:
    """A node of its own channel."""
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(node_target(member.process), options) as channel:
        yield Node(member, rpc.EncoderStub(channel))


@pytest.fixture(params=ENCODERS)
def node(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Node]:
    """Each of the three encoders."""
    yield from open_node(mesh[request.param])


@pytest.fixture
def text_node(mesh: Mesh) -> Iterator[Node]:
    """The text encoder."""
    yield from open_node(mesh["text-encoder"])


@pytest.fixture
def vision_node(mesh: Mesh) -> Iterator[Node]:
    """The vision encoder."""
    yield from open_node(mesh["vision-encoder"])


def good_item(name: str, timeout: float = 60) -> pb.Item:
    """An item that the encoder of this name can encode."""
    payloads = {
        "text-encoder": lambda: {"text": new_text()},
        "vision-encoder": lambda: {"media": new_image()},
        "audio-encoder": lambda: {"media": new_audio()},
    }
    return pb.Item(**payloads[name](), timeout=timeout)


BROKEN = {
    "text-encoder": pb.Item(text=" ", timeout=60),
    "vision-encoder": pb.Item(media=IMAGE[:1000], timeout=60),
    "audio-encoder": pb.Item(media=b"fLaC" + bytes(100), timeout=60),
}


def text_items(count: int, timeout: float = 60, tail: str = "") -> list[pb.Item]:
    """So many different texts."""
    return [pb.Item(text=new_text() + tail, timeout=timeout) for _ in range(count)]


def test_one_broken_item_among_many_fails_alone(node: Node) -> None:
    """Its result is its own error; all others are embeddings, in the order of the items."""
    name = node.member.process.name
    items = [good_item(name) for _ in range(20)]
    alone = node.encode([items[5], items[15]])
    items[10] = BROKEN[name]
    results = node.encode(items)
    outcomes = [result.WhichOneof("outcome") for result in results]
    assert outcomes == ["embedding"] * 10 + ["error"] + ["embedding"] * 9
    assert results[10].error.code == pb.CODE_INVALID
    assert results[10].error.message
    for index, result in zip((5, 15), alone, strict=True):
        assert cosine(results[index], result) == pytest.approx(1, abs=1e-4)


def cosine(one: pb.Result, other: pb.Result) -> float:
    """How much alike two embeddings are; 1 where they point the same way."""
    a, b = (np.frombuffer(result.embedding.data, "<f4") for result in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_one_broken_picture_among_many_requests_fails_alone(mesh: Mesh) -> None:
    """Requests whose items share a call are answered or refused each for itself."""
    good = [partial(predict, mesh.url, {"image": new_image()}) for _ in range(20)]
    bad = partial(predict, mesh.url, {"image": IMAGE[:1000]})
    responses = at_once([*good[:10], bad, *good[10:]])
    refused(responses.pop(10), 422)
    assert all(not answered(response)["degraded"] for response in responses)


def test_a_call_that_is_cancelled_is_dropped_before_the_model(text_node: Node) -> None:
    """Its items are counted as cancelled, and the model sees only those of the other call."""
    cancelled = partial(text_node.count, "mesh_items_dropped_total", reason="cancelled")
    batched = partial(text_node.count, "mesh_batch_items_sum")
    dropped, seen = cancelled(), batched()
    busy = text_node.send(text_items(BUSY, tail=LONG))
    call = text_node.send(text_items(7))
    assert call.cancel()
    within(30, lambda: cancelled() == dropped + 7, lambda: f"{cancelled() - dropped} were dropped")
    assert not busy.done()
    assert all(result.HasField("embedding") for result in busy.result().results)
    assert batched() == seen + BUSY


def test_an_item_whose_time_is_over_is_dropped_before_the_model(text_node: Node) -> None:
    """It is answered as expired and counted; its neighbours with more time are encoded."""
    expired = partial(text_node.count, "mesh_items_dropped_total", reason="expired")
    batched = partial(text_node.count, "mesh_batch_items_sum")
    dropped, seen = expired(), batched()
    busy = text_node.send(text_items(BUSY, tail=LONG))
    results = text_node.encode([*text_items(3, timeout=0.1), *text_items(2)])
    codes = [result.error.code for result in results]
    assert codes[:3] == [pb.CODE_EXPIRED] * 3
    assert all(result.HasField("embedding") for result in results[3:])
    assert all(result.HasField("embedding") for result in busy.result().results)
    assert expired() == dropped + 3
    assert batched() == seen + BUSY + 2


def test_a_full_queue_refuses_the_request(mesh: Mesh, vision_node: Node) -> None:
    """Who finds no place at an encoder is refused with 429 at once, and never degraded."""
    degraded = partial(mesh.total, ["gateway"], "mesh_degraded_total")
    dropped = partial(vision_node.count, "mesh_items_dropped_total", reason="overloaded")
    before, refusals = degraded(), dropped()
    # Each takes long to decode, so that none has left its place when the request comes.
    large = encoded(Image.new("L", (8000, 5000)), "PNG")
    busy = vision_node.send([pb.Item(media=large, timeout=60)] * QUEUE)
    response = predict(mesh.url, {"text": new_text(), "image": new_image()})
    assert busy.cancel()
    refused(response, 429)
    assert int(response.headers["Retry-After"]) > 0
    assert dropped() == refusals + 1
    assert degraded() == before


def test_a_request_that_expires_in_the_queue_is_dropped_there(mesh: Mesh, text_node: Node) -> None:
    """A deadline set over HTTP reaches the node's queue: 504, and the model never sees the text."""
    batched = partial(text_node.count, "mesh_batch_items_sum")
    text_node.encode(text_items(1))  # After it nothing waits any more of an earlier test.
    seen = batched()
    busy = text_node.send(text_items(BUSY, tail=LONG))
    refused(predict(mesh.url, {"text": new_text()}, timeout=0.5), 504)
    assert all(result.HasField("embedding") for result in busy.result().results)
    assert batched() == seen + BUSY
