"""Of gateways that get an input at the same time one encodes it, and the others wait for that.

Whoever misses an embedding claims its input in Redis. The one that gets the claim encodes, leaves
the embedding in the cache and then lets go; the others look there meanwhile. A claim is a courtesy:
where Redis does not answer, or the claim is held for long, everybody encodes for themselves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Protocol
from uuid import uuid4

from gateway.cache import Cache, claim_key, embedding_key, unpack
from gateway.store import READ_TIMEOUT
from gateway.writing import Claim
from mesh.embedding import Embedding, Modality

# Seconds that a claim lasts at most, and that anybody waits for one: many times what an encoder
# takes, and little beside what a caller who meets a gateway that died waits anyway.
CLAIM_SECONDS: Final = 1.0
# Of the time that a request still has; the rest is for encoding after all.
WAIT_SHARE: Final = 0.5
# Seconds between looks.
PAUSES: Final = (0.004, 0.008, 0.016)
LONGEST_PAUSE: Final = 0.03


class KeepsClaims(Protocol):
    """The part of a store that taking turns needs."""

    async def claim(self, claim: Claim, seconds: float, patience: float) -> bool | None:
        """Whether it is the only one for its key, for so long; None where nobody can tell."""

    async def peek(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """What all gateways find there; None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Sought:
    """An input whose embedding is to be had.

    `versions` are those under which another gateway may leave it, and under which it was not there
    when the caller looked; none where there is no other gateway. `looked` and `deadline` are on the
    clock of time.monotonic().
    """

    modality: Modality
    digest: str
    versions: Sequence[str]
    looked: float
    deadline: float


class Turns:
    """Lets one of several gateways encode each input. Lives in one loop."""

    def __init__(self, cache: Cache, claims: KeepsClaims, *, shared: bool) -> None:
        """Without `shared` there is nobody to wait for, and callers need not say for what."""
        self._cache = cache
        self._claims = claims
        self.shared = shared

    async def take(self, sought: Sought, encode: Callable[[], Awaitable[Embedding]]) -> Embedding:
        """What another gateway leaves that is at it already, else what `encode` gives or raises.

        The latter is in the cache when this returns.
        """
        turn = await self._turn(sought) if self.shared and sought.versions else None
        if isinstance(turn, Embedding):
            return turn
        computed: dict[Modality, Embedding] = {}
        try:
            computed[sought.modality] = await encode()
            return computed[sought.modality]
        finally:
            if computed or turn:
                self._cache.keep_embeddings({sought.modality: sought.digest}, computed, turn)

    async def _turn(self, sought: Sought) -> Embedding | Claim | None:
        """The embedding, or our claim to encode it, as far as we know; None where time is over."""
        now = time.monotonic
        claim = Claim(claim_key(sought.modality, sought.digest), uuid4().hex)
        most = min(CLAIM_SECONDS, WAIT_SHARE * (sought.deadline - now()))
        until, patience = now() + most, sought.looked + READ_TIMEOUT - now()
        pauses = _pauses()
        while patience > 0 and now() < until:
            if await self._may_hold(claim, sought, patience):
                return claim
            found = await self._left_by(claim.key, sought, pauses, until)
            if found is not None:
                return found
            patience = READ_TIMEOUT
        return None

    async def _may_hold(self, claim: Claim, sought: Sought, patience: float) -> bool:
        """Whether the claim is ours, or Redis does not say; to end one that isn't does nothing.

        Whoever leaves meanwhile leaves none behind that Redis makes all the same.
        """
        try:
            return await self._claims.claim(claim, CLAIM_SECONDS, patience) is not False
        except asyncio.CancelledError:
            self._cache.keep_embeddings({sought.modality: sought.digest}, {}, claim)
            raise

    async def _left_by(
        self, key: str, sought: Sought, pauses: Iterator[float], until: float
    ) -> Embedding | None:
        """What the claim's owner leaves; None once the claim is over, or nobody can tell."""
        now = time.monotonic
        keys = {embedding_key(sought.modality, v, sought.digest): v for v in sought.versions}
        held = True
        while held and now() < until:
            await asyncio.sleep(min(next(pauses), until - now()))
            values = await self._claims.peek([key, *keys]) or {}
            for place, version in keys.items():
                if embedding := unpack(values.get(place), sought.modality, version):
                    return embedding
            held = key in values
        return None


def _pauses() -> Iterator[float]:
    yield from PAUSES
    yield from repeat(LONGEST_PAUSE)
