"""From inputs to embeddings, each input once: in this process, and among all gateways."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.cache import embedding_key
from gateway.clients import Head
from gateway.contract import Failure, PredictRequest
from gateway.digests import Digests
from gateway.patience import Patience
from gateway.single_flight import SingleFlight
from gateway.turns import Sought, Turns
from mesh.embedding import Embedding, Modality
from mesh.errors import InputError, MeshError, Overloaded


class Encodes(Protocol):
    """The part of an encoder's client that the pipeline needs."""

    async def encode(
        self, payload: str | bytes, deadline: float, request_id: str, patience: float = 0.0
    ) -> Embedding:
        """The embedding of one input, which may wait for others for `patience` seconds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What encoders are asked of one request; times on the clock of time.monotonic().

    `looked` is when the cache was looked into, `deadline` when encoders have to be done; `versions`
    are those under which the cache did not have the input.
    """

    request: PredictRequest
    looked: float
    deadline: float
    versions: Mapping[Modality, Sequence[str]]


class Embedder:
    """Asks the encoders. Lives in one loop."""

    def __init__(self, encoders: Mapping[Modality, Encodes], turns: Turns) -> None:
        self._encoders = encoders
        self._turns = turns
        self._patience = Patience()
        self._flights: SingleFlight[tuple[Modality, str], Embedding] = SingleFlight()

    async def encode(
        self, asked: Asked, modalities: set[Modality]
    ) -> dict[Modality, Embedding | Failure]:
        """What became of each. Raises InputError and Overloaded for the sake of any of them."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    modality: group.create_task(self._encode_one(asked, modality, modalities))
                    for modality in _largest_first(asked.request.inputs, modalities)
                }
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {modality: task.result() for modality, task in tasks.items()}

    async def _encode_one(
        self, asked: Asked, modality: Modality, among: Collection[Modality]
    ) -> Embedding | Failure:
        digest, request = asked.request.digests[modality], asked.request

        async def encode() -> Embedding:
            started = time.monotonic()
            patience = self._patience.of(modality, among, asked.deadline)
            try:
                embedding = await self._encoders[modality].encode(
                    request.inputs[modality], asked.deadline, request.request_id, patience
                )
            except MeshError as error:
                if not isinstance(error, InputError):
                    self._patience.failed(modality)
                raise
            self._patience.took(modality, time.monotonic() - started)
            return embedding

        async def take_turn() -> Embedding:
            # In the cache before the flight lands, so that nobody misses it both there and here.
            versions = asked.versions.get(modality, ())
            sought = Sought(modality, digest, versions, asked.looked, asked.deadline)
            return await self._turns.take(sought, encode)

        try:
            key = (modality, digest)
            return await self._flights.run(key, asked.looked, asked.deadline, take_turn)
        except InputError as error:
            error.field = modality
            raise
        except Overloaded:
            raise
        except MeshError as error:
            return Failure(error.code, error.message)


def _largest_first(
    inputs: Mapping[Modality, str | bytes], modalities: Collection[Modality]
) -> list[Modality]:
    """What takes longest must not wait for a core until the others are done; size is a guess."""
    return sorted(modalities, key=lambda modality: len(inputs[modality]), reverse=True)


def left_open(
    heads: Sequence[Head], digests: Digests, seen: Collection[str]
) -> dict[Modality, list[str]]:
    """The encoder versions that some head wants, and under which nothing was seen."""
    wanted = {(m, head.encoders[m]): None for head in heads for m in digests if m in head.encoders}
    return {
        modality: [
            v for m, v in wanted if m == modality and embedding_key(m, v, digest) not in seen
        ]
        for modality, digest in digests.items()
    }
