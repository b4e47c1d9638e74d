"""classify(): from a request to a class. Cache -> encoders -> fusion -> cache."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

import structlog

from gateway.answers import (
    Branches,
    Embeddings,
    cached_prediction,
    explained,
    known,
    only_embeddings,
    prediction,
    reports_of,
    require_embeddings,
    truncated_in,
)
from gateway.cache import Cache, Result
from gateway.catalog import Catalog, best_head
from gateway.clients import Head, Scores
from gateway.contract import Failure, Known, Prediction, PredictRequest
from gateway.embedder import Asked, Embedder
from gateway.metrics import GatewayMetrics
from gateway.timing import StageTimer
from mesh.embedding import Embedding, Modality
from mesh.errors import DeadlineExpired, VersionMismatch

log = structlog.get_logger(__name__)

# How often a head is asked for before it counts as gone.
TRIES: Final = 2


class Fuses(Protocol):
    """The part of fusion's client that the pipeline needs."""

    async def classify(
        self,
        version: str,
        examples: Sequence[Sequence[Embedding]],
        deadline: float,
        request_id: str,
    ) -> list[Scores]:
        """One answer of that head an example."""


class Pipeline:
    """Answers requests. Lives in one loop; holds no state of a request."""

    def __init__(
        self,
        catalog: Catalog,
        embedder: Embedder,
        fusion: Fuses,
        cache: Cache,
        metrics: GatewayMetrics,
        fusion_reserve: float,
    ) -> None:
        self._catalog = catalog
        self._embedder = embedder
        self._fusion = fusion
        self._cache = cache
        self._metrics = metrics
        self._reserve = fusion_reserve

    def recall(self, request: PredictRequest) -> Known | None:
        """The answer that this process knows already. Callable from any thread."""
        heads = self._catalog.heads
        if request.explain or not heads:
            return None
        packed = self._cache.recall(heads[0], request.digests)
        return known(packed, heads[0], request.digests) if packed else None

    async def classify(self, request: PredictRequest) -> Prediction:
        """The class of one request.

        Raises InputError or Overloaded for any modality's sake (also where no head takes it),
        DeadlineExpired, and Unavailable where no modality could be encoded or fusion is down.
        Other faults of a modality degrade the answer to the modalities that are left.
        """
        try:
            async with asyncio.timeout_at(request.deadline):
                return await self._classify(request)
        except TimeoutError:
            raise DeadlineExpired("no answer in time") from None

    async def _classify(self, request: PredictRequest) -> Prediction:
        timer = StageTimer(self._metrics)
        refused: set[str] = set()
        while True:
            known = await self._catalog.heads_for(request.inputs)
            heads = [head for head in known if head.version not in refused]
            if not heads:
                raise VersionMismatch("fusion holds none of the heads that it says it holds")
            try:
                return await self._attempt(request, heads, timer)
            except _Refused as refusal:
                refused.add(refusal.version)
                await self._catalog.refresh_heads()

    async def _attempt(
        self, request: PredictRequest, heads: Sequence[Head], timer: StageTimer
    ) -> Prediction:
        with timer.stage("cache"):
            looked, digests = time.monotonic(), request.digests
            found = await self._cache.look_up(heads, digests, with_result=not request.explain)
        if found.result:
            return cached_prediction(found.result, digests, timer.finish())
        with timer.stage("encode"):
            deadline = _encode_deadline(request, self._reserve)
            asked = Asked(request, looked, deadline, heads, found.seen)
            branches = await self._branches(asked, heads, found.embeddings)
            head, branches = await self._agree(heads, branches)
        embeddings = require_embeddings(branches)
        with timer.stage("fuse"):
            scores, *without = await self._fuse(request, head, embeddings)
        if len(embeddings) == len(branches):
            self._cache.keep_result(head, digests, Result(scores, truncated_in(embeddings)))
        self._tell_of_failures(branches)
        reports = reports_of(branches, found.embeddings)
        if request.explain:
            reports = explained(reports, embeddings, scores, without)
        return prediction(scores, reports, timer.finish())

    async def _branches(self, asked: Asked, heads: Sequence[Head], cached: Embeddings) -> Branches:
        """For each modality that was sent, what the cache or its encoder gave."""
        fresh = await self._embedder.encode(asked, set(asked.request.digests) - set(cached))
        if cached and (computed := only_embeddings(fresh)):
            together = {**cached, **computed}
            _, understood = best_head(heads, _versions(together))
            if len(understood) < len(together):
                # A roll-out is going on, and the encoders have left the cached versions behind.
                head, _ = best_head(heads, _versions(computed))
                stale = {m for m, e in cached.items() if head.encoders.get(m) != e.version}
                # Without heads: what other gateways may leave is what was found here.
                late = replace(asked, looked=time.monotonic(), heads=())
                fresh |= await self._embedder.encode(late, stale)
        return {**cached, **fresh}

    async def _agree(self, heads: Sequence[Head], branches: Branches) -> tuple[Head, Branches]:
        """The head that understands the most of the embeddings; the others are failures."""
        embeddings = only_embeddings(branches)
        head, understood = best_head(heads, _versions(embeddings))
        if len(understood) == len(embeddings):
            return head, branches
        # Fusion may have come to know them since it was last asked.
        await self._catalog.refresh_heads()
        head, understood = best_head(
            [*heads, *self._catalog.require_heads()], _versions(embeddings)
        )
        misfit = Failure(VersionMismatch.code, "fusion was not trained on this encoder's version")
        return head, {
            modality: misfit if modality in embeddings and modality not in understood else branch
            for modality, branch in branches.items()
        }

    async def _fuse(
        self, request: PredictRequest, head: Head, embeddings: Embeddings
    ) -> list[Scores]:
        """The head's answer to all embeddings; to explain it, also to all but each, in order."""
        examples = [list(embeddings.values())]
        if request.explain and len(embeddings) > 1:
            examples += [[e for e in examples[0] if e is not left] for left in examples[0]]
        for _ in range(TRIES):
            # Each try meets another replica of fusion; during a roll-out they hold other heads.
            with suppress(VersionMismatch):
                return await self._fusion.classify(
                    head.version, examples, request.deadline, request.request_id
                )
        raise _Refused(head.version)

    def _tell_of_failures(self, branches: Branches) -> None:
        for modality, branch in branches.items():
            if isinstance(branch, Failure):
                self._metrics.degraded.labels(modality, branch.code).inc()
                log.warning(
                    "modality_failed", modality=modality, code=branch.code, message=branch.message
                )


class _Refused(Exception):
    """No replica of fusion that was asked holds the head of this version any more."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


def _encode_deadline(request: PredictRequest, reserve: float) -> float:
    """Leaves `reserve` seconds to fusion, or half of what is left where that is less."""
    left = request.deadline - time.monotonic()
    return request.deadline - min(reserve, left / 2)


def _versions(embeddings: Embeddings) -> dict[Modality, str]:
    return {modality: embedding.version for modality, embedding in embeddings.items()}
