"""The gateway's side of the two gRPC services. Wire types stop here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio

from gateway.coalescing import MAX_ITEMS, Coalescer, Wait
from gateway.metrics import GatewayMetrics
from gateway.peer import Peer
from gateway.replicas import Replicas
from mesh.embedding import (
    Embedding,
    Modality,
    embedding_from_pb,
    modality_from_pb,
    write_embedding,
)
from mesh.errors import (
    DeadlineExpired,
    InvalidInput,
    MeshError,
    Overloaded,
    TooLarge,
    Unavailable,
    UnsupportedFormat,
    VersionMismatch,
)
from mesh.together import together
from mesh.v1 import encoder_pb2, encoder_pb2_grpc, fusion_pb2, fusion_pb2_grpc

_ITEM_ERRORS: Final[dict[encoder_pb2.Code, type[MeshError]]] = {
    encoder_pb2.CODE_INVALID: InvalidInput,
    encoder_pb2.CODE_TOO_LARGE: TooLarge,
    encoder_pb2.CODE_UNSUPPORTED: UnsupportedFormat,
    encoder_pb2.CODE_OVERLOADED: Overloaded,
    encoder_pb2.CODE_EXPIRED: DeadlineExpired,
}


# What befalls all of a call's examples alike.
_WHOLE_CALLS: Final = (Unavailable, DeadlineExpired, VersionMismatch)


@dataclass(frozen=True, slots=True)
class Head:
    """One artifact that fusion holds, and the encoder versions that it was trained on."""

    name: str
    version: str
    labels: tuple[str, ...]
    encoders: Mapping[Modality, str]


@dataclass(frozen=True, slots=True)
class Scores:
    """A head's answer to one example; probabilities in the order of its labels."""

    name: str
    version: str
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Item:
    payload: str | bytes
    deadline: float
    request_id: str


class EncoderClient:
    """One modality's encoder, over all of its replicas. Concurrent items share calls."""

    def __init__(
        self, modality: Modality, channel: grpc.aio.Channel, metrics: GatewayMetrics
    ) -> None:
        self.modality = modality
        self._peer = Peer(channel, f"the {modality} encoder")
        self._stub: Any = encoder_pb2_grpc.EncoderStub(channel)  # type: ignore[no-untyped-call]
        self._calls = metrics.encode_calls.labels(modality)
        self._items = metrics.encode_items.labels(modality)
        self._coalescer: Coalescer[_Item, Embedding] = Coalescer(self._send)
        self._replicas = Replicas()

    async def encode(
        self, payload: str | bytes, deadline: float, request_id: str, wait: Wait | None = None
    ) -> Embedding:
        """The embedding of one input, or the error that its item got.

        `deadline` (the clock of time.monotonic) travels with the item; the wait is the caller's.
        It may `wait` for others to share a call with.
        """
        item = _Item(payload, deadline, request_id)
        return await self._coalescer.submit(item, len(payload), wait)

    async def describe(self, deadline: float) -> str:
        """The version that answers now; Unavailable or DeadlineExpired where none does.

        Calls then carry as many items as that encoder takes in a batch.
        """
        request = encoder_pb2.EncoderDescribeRequest()
        answer = await self._peer.call(self._stub.Describe, request, deadline)
        self._coalescer.max_items = min(answer.batch_items or MAX_ITEMS, MAX_ITEMS)
        return str(answer.version)

    async def close(self) -> None:
        """End what is in flight and the connections."""
        await self._coalescer.close()
        await self._peer.close()

    async def _send(self, items: Sequence[_Item]) -> list[Embedding | MeshError]:
        now = time.monotonic()
        request = encoder_pb2.EncodeRequest()
        for item in items:
            _add_item(request, item, now)
        self._calls.inc()
        self._items.inc(len(items))
        last = max(item.deadline for item in items)
        answer = await self._peer.call(self._stub.Encode, request, last, items[0].request_id)
        if len(answer.results) != len(items):
            raise MeshError(f"{len(answer.results)} results for {len(items)} items")
        self._coalescer.calls = self._replicas.count(answer.replica)
        return [_outcome_from_pb(result) for result in answer.results]


@dataclass(frozen=True, slots=True)
class _Example:
    version: str
    embeddings: Sequence[Embedding]
    deadline: float
    request_id: str


class FusionClient:
    """The fusion service, over all of its replicas. Concurrent examples share calls."""

    def __init__(self, channel: grpc.aio.Channel, metrics: GatewayMetrics) -> None:
        self._peer = Peer(channel, "fusion")
        self._stub: Any = fusion_pb2_grpc.FusionStub(channel)  # type: ignore[no-untyped-call]
        self._calls = metrics.classify_calls
        self._coalescer: Coalescer[_Example, Scores] = Coalescer(self._send)
        self._replicas = Replicas()

    async def describe(self, deadline: float) -> tuple[Head, ...]:
        """The heads that fusion holds, preferred first."""
        request = fusion_pb2.FusionDescribeRequest()
        answer = await self._peer.call(self._stub.Describe, request, deadline)
        return tuple(_head_from_pb(artifact) for artifact in answer.artifacts)

    async def classify(
        self,
        version: str,
        examples: Sequence[Sequence[Embedding]],
        deadline: float,
        request_id: str,
    ) -> list[Scores]:
        """The answers of the head of that version, one an example, in their order.

        VersionMismatch where the replica that is asked does not hold it. The wait is the caller's.
        """
        asked = (_Example(version, example, deadline, request_id) for example in examples)
        return await together(self._coalescer.submit(one, _size(one)) for one in asked)

    async def close(self) -> None:
        """End what is in flight and the connections."""
        await self._coalescer.close()
        await self._peer.close()

    async def _send(self, examples: Sequence[_Example]) -> list[Scores | MeshError]:
        """A call for each head that is asked for: outside of a roll-out, one."""
        versions = list(dict.fromkeys(example.version for example in examples))
        answers = await together(
            self._classify([example for example in examples if example.version == version])
            for version in versions
        )
        outcomes = dict(zip(versions, map(iter, answers), strict=True))
        return [next(outcomes[example.version]) for example in examples]

    async def _classify(self, examples: Sequence[_Example]) -> list[Scores | MeshError]:
        """What a head gives to each. Fusion answers a call whole or not at all."""
        first, last = examples[0], max(example.deadline for example in examples)
        request = fusion_pb2.ClassifyRequest(version=first.version)
        for example in examples:
            _add_example(request, example)
        self._calls.inc()
        try:
            answer = await self._peer.call(self._stub.Classify, request, last, first.request_id)
        except MeshError as error:
            if len(examples) == 1 or isinstance(error, _WHOLE_CALLS):
                return [error] * len(examples)
            # The fault, or the one place too few, may be one example's: not the others'.
            half = len(examples) // 2
            first_half = await self._classify(examples[:half])
            return [*first_half, *await self._classify(examples[half:])]
        if len(answer.classifications) != len(examples):
            raise MeshError(f"{len(answer.classifications)} answers to {len(examples)} examples")
        self._coalescer.calls = self._replicas.count(answer.replica)
        return [_scores_from_pb(message) for message in answer.classifications]


def _add_item(request: encoder_pb2.EncodeRequest, item: _Item, now: float) -> None:
    # A message that was made by itself would be serialised to be taken over, and read again.
    left = item.deadline - now
    if isinstance(item.payload, str):
        request.items.add(text=item.payload, timeout=left, request_id=item.request_id)
    else:
        request.items.add(media=item.payload, timeout=left, request_id=item.request_id)


def _outcome_from_pb(result: encoder_pb2.Result) -> Embedding | MeshError:
    if result.HasField("error"):
        return _ITEM_ERRORS.get(result.error.code, MeshError)(result.error.message)
    try:
        return embedding_from_pb(result.embedding)
    except InvalidInput as error:
        return MeshError(f"an encoder sent no valid embedding: {error.message}")


def _size(example: _Example) -> int:
    return sum(len(embedding.data) for embedding in example.embeddings)


def _add_example(request: fusion_pb2.ClassifyRequest, example: _Example) -> None:
    message = request.examples.add(request_id=example.request_id)
    for embedding in example.embeddings:
        write_embedding(embedding, message.embeddings.add())


def _head_from_pb(artifact: fusion_pb2.FusionArtifact) -> Head:
    encoders = {
        modality_from_pb(trained.modality): trained.version for trained in artifact.encoders
    }
    return Head(artifact.name, artifact.version, tuple(artifact.labels), encoders)


def _scores_from_pb(message: fusion_pb2.Classification) -> Scores:
    probabilities = {score.label: score.probability for score in message.scores}
    return Scores(message.name, message.version, probabilities)
