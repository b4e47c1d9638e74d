"""classify(): from a request to a class. Cache -> encoders -> fusion -> cache."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from gateway.answers import (
    Branches,
    Embeddings,
    cached_prediction,
    explained,
    only_embeddings,
    prediction,
    reports_of,
    require_embeddings,
    truncated_in,
)
from gateway.cache import Cache, Digests, Found, Result, digest_of
from gateway.catalog import Catalog, best_head
from gateway.clients import Scores
from gateway.contract import Failure, Prediction, PredictRequest
from gateway.metrics import GatewayMetrics
from gateway.single_flight import SingleFlight
from gateway.timing import StageTimer
from mesh.embedding import Embedding, Modality
from mesh.errors import (
    DeadlineExpired,
    InputError,
    MeshError,
    Overloaded,
    VersionMismatch,
)

# Fusion's replicas may hold different heads during a roll-out; each try may meet another one.
TRIES: Final = 4
# Inputs over this many bytes are hashed in a thread: a millisecond of the loop's time.
HASH_INLINE: Final = 1_000_000


class Encodes(Protocol):
    """The part of an encoder's client that the pipeline needs."""

    async def encode(self, payload: str | bytes, deadline: float, request_id: str) -> Embedding:
        """The embedding of one input."""


class Fuses(Protocol):
    """The part of fusion's client that the pipeline needs."""

    async def classify(
        self, examples: Sequence[Sequence[Embedding]], deadline: float, request_id: str
    ) -> list[Scores]:
        """One answer an example."""


class Pipeline:
    """Answers requests. Lives in one loop; holds no state of a request."""

    def __init__(
        self,
        catalog: Catalog,
        encoders: Mapping[Modality, Encodes],
        fusion: Fuses,
        cache: Cache,
        metrics: GatewayMetrics,
        fusion_reserve: float,
    ) -> None:
        self._catalog = catalog
        self._encoders = encoders
        self._fusion = fusion
        self._cache = cache
        self._metrics = metrics
        self._reserve = fusion_reserve
        self._flights: SingleFlight[tuple[Modality, str], Embedding] = SingleFlight()

    async def classify(self, request: PredictRequest) -> Prediction:
        """The class of one request.

        Raises InputError or Overloaded for any modality's sake, DeadlineExpired, and Unavailable
        where no modality could be encoded or fusion is down. Other faults of a modality degrade
        the answer to the modalities that are left.
        """
        try:
            async with asyncio.timeout_at(request.deadline):
                return await self._classify(request)
        except TimeoutError:
            raise DeadlineExpired("no answer in time") from None

    async def _classify(self, request: PredictRequest) -> Prediction:
        timer = StageTimer(self._metrics)
        for _ in range(TRIES - 1):
            try:
                return await self._attempt(request, timer)
            except VersionMismatch:
                await self._catalog.refresh_heads()
        return await self._attempt(request, timer)

    async def _attempt(self, request: PredictRequest, timer: StageTimer) -> Prediction:
        looked = time.monotonic()
        with timer.stage("cache"):
            digests = await _digests(request.inputs)
            heads = self._catalog.require_heads()
            found = await self._cache.look_up(heads, digests, with_result=not request.explain)
        if found.result:
            return cached_prediction(found.result, digests, timer.finish())
        with timer.stage("encode"):
            branches = await self._branches(request, digests, found, looked)
        embeddings = require_embeddings(branches)
        with timer.stage("fuse"):
            scores, *without = await self._fuse(request, embeddings)
        if len(embeddings) == len(branches):
            self._cache.keep_result(digests, Result(scores, truncated_in(embeddings)))
        reports = reports_of(branches, found.embeddings)
        if request.explain:
            reports = explained(reports, embeddings, scores, without)
        return prediction(scores, reports, timer.finish())

    async def _branches(
        self, request: PredictRequest, digests: Digests, found: Found, looked: float
    ) -> dict[Modality, Embedding | Failure]:
        """For each modality that was sent an embedding that one common head understands."""
        missing = set(request.inputs) - set(found.embeddings)
        fresh = await self._encode(request, digests, missing, looked)
        if computed := only_embeddings(fresh):
            head, _ = best_head(self._catalog.require_heads(), _versions(computed))
            # Cached ones of versions that the encoders have left behind: a roll-out is going on.
            stale = {
                modality
                for modality, embedding in found.embeddings.items()
                if head.encoders.get(modality) != embedding.version
            }
            fresh |= await self._encode(request, digests, stale, time.monotonic())
        return await self._refuse_misfits({**found.embeddings, **fresh})

    async def _encode(
        self, request: PredictRequest, digests: Digests, modalities: set[Modality], looked: float
    ) -> dict[Modality, Embedding | Failure]:
        deadline = _encode_deadline(request, self._reserve)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    modality: group.create_task(
                        self._encode_one(modality, request, digests[modality], deadline, looked)
                    )
                    for modality in modalities
                }
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {modality: task.result() for modality, task in tasks.items()}

    async def _encode_one(
        self,
        modality: Modality,
        request: PredictRequest,
        digest: str,
        deadline: float,
        looked: float,
    ) -> Embedding | Failure:
        encoder, payload = self._encoders[modality], request.inputs[modality]

        async def encode_and_keep() -> Embedding:
            embedding = await encoder.encode(payload, deadline, request.request_id)
            # Before the flight lands, so that nobody misses it both there and in the cache.
            self._cache.keep_embeddings({modality: digest}, {modality: embedding})
            return embedding

        try:
            return await self._flights.run((modality, digest), looked, deadline, encode_and_keep)
        except InputError as error:
            error.field = modality
            raise
        except Overloaded:
            raise
        except MeshError as error:
            return self._failure(modality, error)

    async def _refuse_misfits(self, branches: Branches) -> dict[Modality, Embedding | Failure]:
        embeddings = only_embeddings(branches)
        versions = _versions(embeddings)
        _, understood = best_head(self._catalog.require_heads(), versions)
        if len(understood) < len(embeddings):
            await self._catalog.refresh_heads()
            _, understood = best_head(self._catalog.require_heads(), versions)
        misfit = VersionMismatch("the encoder is of a version that fusion was not trained on")
        return {
            modality: self._failure(modality, misfit)
            if modality in embeddings and modality not in understood
            else branch
            for modality, branch in branches.items()
        }

    def _failure(self, modality: Modality, error: MeshError) -> Failure:
        self._metrics.degraded.labels(modality, error.code).inc()
        return Failure(error.code, error.message)

    async def _fuse(self, request: PredictRequest, embeddings: Embeddings) -> list[Scores]:
        """The answer to all embeddings; to explain it, also to all but each one, in order."""
        examples = [list(embeddings.values())]
        if request.explain and len(embeddings) > 1:
            examples += [[e for e in examples[0] if e is not left] for left in examples[0]]
        return await self._fusion.classify(examples, request.deadline, request.request_id)


async def _digests(inputs: Mapping[Modality, str | bytes]) -> Digests:
    def digest_all() -> Digests:
        return {modality: digest_of(payload) for modality, payload in inputs.items()}

    if sum(map(len, inputs.values())) <= HASH_INLINE:
        return digest_all()
    return await asyncio.to_thread(digest_all)


def _encode_deadline(request: PredictRequest, reserve: float) -> float:
    """Leaves `reserve` seconds to fusion, or half of what is left where that is less."""
    left = request.deadline - time.monotonic()
    return request.deadline - min(reserve, left / 2)


def _versions(embeddings: Embeddings) -> dict[Modality, str]:
    return {modality: embedding.version for modality, embedding in embeddings.items()}
