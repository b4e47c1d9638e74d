"""From inputs to embeddings, each input once: in this process, and among all gateways."""

import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from gateway.cache import embedding_key
from gateway.clients import Head
from gateway.coalescing import Wait
from gateway.contract import Failure, PredictRequest
from gateway.patience import Patience
from gateway.single_flight import SingleFlight
from gateway.turns import Sought, Turns
from mesh.embedding import Embedding, Modality
from mesh.errors import InputError, MeshError, Overloaded


class Encodes(Protocol):
    """The part of an encoder's client that the pipeline needs."""

    async def encode(
        self, payload: str | bytes, deadline: float, request_id: str, wait: Wait | None = None
    ) -> Embedding:
        """The embedding of one input, which may `wait` for others."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What encoders are asked of one request; times on the clock of time.monotonic().

    `looked` is when the cache was looked into, `deadline` when encoders have to be done. Other
    gateways may leave what any of `heads` wants, but for what was `seen` in the cache already.
    """

    request: PredictRequest
    looked: float
    deadline: float
    heads: Sequence[Head] = ()
    seen: Collection[str] = ()


class Embedder:
    """Asks the encoders. Lives in one loop."""

    def __init__(self, encoders: Mapping[Modality, Encodes], turns: Turns) -> None:
        self._encoders = encoders
        self._turns = turns
        self._patience = Patience()
        self._waits: dict[tuple[Modality, str], Wait] = {}
        self._flights: SingleFlight[tuple[Modality, str], Embedding] = SingleFlight()

    async def encode(
        self, asked: Asked, modalities: set[Modality]
    ) -> dict[Modality, Embedding | Failure]:
        """What became of each. Raises InputError and Overloaded for the sake of any of them."""
        digests = asked.request.digests
        # For what others asked for nobody waits as long as it usually takes.
        begun = [
            modality
            for modality in modalities
            if not self._flights.is_known((modality, digests[modality]), asked.looked)
        ]
        longest = self._patience.longest(begun)
        works = {
            (modality, digests[modality]): self._work(asked, modality, longest)
            for modality in _largest_first(asked.request.inputs, modalities)
        }
        outcomes = await self._flights.run(works, asked.looked, asked.deadline, _ends_a_request)
        return {modality: _branch(outcome) for (modality, _), outcome in outcomes.items()}

    def _work(
        self, asked: Asked, modality: Modality, longest: float
    ) -> Callable[[], Coroutine[Any, Any, Embedding]]:
        key = (modality, asked.request.digests[modality])
        patience = self._patience.of(modality, longest, asked.deadline)
        if key in self._waits:  # Who joins may have less patience than who came first.
            self._waits[key].shorten(patience)
        return partial(self._take_turn, asked, modality, patience)

    async def _take_turn(self, asked: Asked, modality: Modality, patience: float) -> Embedding:
        """An embedding that is in the cache before its flight lands, so that nobody misses it."""
        digest = asked.request.digests[modality]
        versions = left_open(asked, modality) if self._turns.shared else ()
        sought = Sought(modality, digest, versions, asked.looked, asked.deadline)
        return await self._turns.take(sought, partial(self._ask, asked, modality, patience))

    async def _ask(self, asked: Asked, modality: Modality, patience: float) -> Embedding:
        request, started = asked.request, time.monotonic()
        key = (modality, request.digests[modality])
        wait = self._waits[key] = Wait(patience)
        try:
            embedding = await self._encoders[modality].encode(
                request.inputs[modality], asked.deadline, request.request_id, wait
            )
        except InputError as error:
            error.field = modality
            raise
        except MeshError:
            self._patience.failed(modality)
            raise
        finally:
            self._waits.pop(key, None)
        self._patience.took(modality, time.monotonic() - started)
        return embedding


def _ends_a_request(error: MeshError) -> bool:
    """Whether a request goes without an answer, and not only without this modality."""
    return isinstance(error, InputError | Overloaded)


def _branch(outcome: Embedding | MeshError) -> Embedding | Failure:
    if isinstance(outcome, MeshError):
        return Failure(outcome.code, outcome.message)
    return outcome


def _largest_first(
    inputs: Mapping[Modality, str | bytes], modalities: Collection[Modality]
) -> list[Modality]:
    """What takes longest must not wait for a core until the others are done; size is a guess."""
    return sorted(modalities, key=lambda modality: len(inputs[modality]), reverse=True)


def left_open(asked: Asked, modality: Modality) -> list[str]:
    """The encoder versions that some head wants, and under which nothing was seen."""
    digest = asked.request.digests[modality]
    wanted = [head.encoders[modality] for head in asked.heads if modality in head.encoders]
    return [
        version
        for version in dict.fromkeys(wanted)
        if embedding_key(modality, version, digest) not in asked.seen
    ]
