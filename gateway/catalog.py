"""What the mesh can do now: the heads that fusion holds, and which encoders answer.

Asked for every `INTERVAL` seconds, and at once when somebody finds that it is out of date. While
fusion does not answer, its last word stays valid, so that cached answers still go out.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from gateway.clients import Head
from mesh.embedding import Modality
from mesh.errors import MalformedInput, MeshError, Unavailable

INTERVAL: Final = 2.0
# A Describe that takes longer counts as none.
PATIENCE: Final = 1.5
# Seconds between two questions for the sake of requests that no head takes, however many come.
ASK_AGAIN: Final = 0.5

log = structlog.get_logger(__name__)


class DescribesEncoder(Protocol):
    """The part of an encoder's client that the catalog needs."""

    async def describe(self, deadline: float) -> str:
        """The version that answers."""


class DescribesFusion(Protocol):
    """The part of fusion's client that the catalog needs."""

    async def describe(self, deadline: float) -> tuple[Head, ...]:
        """The heads that fusion holds, preferred first."""


@dataclass(slots=True)
class Catalog:
    """The mesh as last seen. Written by its own loop, safe to read from any thread."""

    fusion: DescribesFusion
    encoders: Mapping[Modality, DescribesEncoder]
    heads: tuple[Head, ...] = ()
    fusion_ready: bool = False
    # The version that each encoder gave last; None for one that does not answer.
    versions: Mapping[Modality, str | None] = field(default_factory=dict)
    _asking: asyncio.Task[None] | None = None
    _ask_again: float = 0.0

    async def watch(self) -> None:
        """Ask everybody again and again, for as long as the gateway lives."""
        while True:
            try:
                await self.refresh()
            except Exception:
                log.exception("the catalog could not be refreshed")
            await asyncio.sleep(INTERVAL)

    async def refresh(self) -> None:
        """Ask fusion once, and then the encoders that its heads were trained on."""
        await self.refresh_heads()
        used = [modality for modality in self.encoders if self.wanted(modality)]
        await asyncio.gather(*map(self._ask_encoder, used))

    async def refresh_heads(self) -> None:
        """Ask fusion once; those who want it at the same time share the answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_fusion())
        await asyncio.shield(self._asking)

    def require_heads(self) -> tuple[Head, ...]:
        """The heads; Unavailable where fusion has never been seen."""
        if not self.heads:
            raise Unavailable("fusion has not answered yet")
        return self.heads

    async def heads_for(self, modalities: Collection[Modality]) -> tuple[Head, ...]:
        """The heads, some of which take each of `modalities`.

        MalformedInput for a modality that none takes, as far as fusion said less than `ASK_AGAIN`
        seconds ago; while fusion is away its last word counts. Unavailable as `require_heads`.
        """
        if self._untaken(modalities) and time.monotonic() >= self._ask_again:
            await self.refresh_heads()
            self._ask_again = time.monotonic() + ASK_AGAIN
        if untaken := self._untaken(modalities):
            raise MalformedInput(f"no model here takes {untaken[0]}", untaken[0])
        return self.heads

    def ready(self) -> bool:
        """Whether fusion and at least one encoder that it understands answer."""
        return self.fusion_ready and any(self.state(m) == "ready" for m in self.encoders)

    def describe(self) -> dict[str, object]:
        """The mesh as data: the models, and what each encoder gives."""
        return {
            "models": [
                {
                    "name": head.name,
                    "version": head.version,
                    "labels": list(head.labels),
                    "encoders": {str(m): version for m, version in head.encoders.items()},
                }
                for head in self.heads
            ],
            "encoders": {
                modality: {
                    "state": self.state(modality),
                    # What an unused one gave before is out of date: it is not asked any more.
                    "version": self.versions.get(modality) if self.wanted(modality) else None,
                }
                for modality in self.encoders
            },
        }

    def wanted(self, modality: Modality) -> list[str]:
        """The encoder versions that some head was trained on, preferred first, each once."""
        wanted = (head.encoders[modality] for head in self.heads if modality in head.encoders)
        return list(dict.fromkeys(wanted))

    def state(self, modality: Modality) -> str:
        """ready, unreachable, wrong_version, or unused where no head takes the modality."""
        if self.heads and not self.wanted(modality):
            return "unused"
        version = self.versions.get(modality)
        if version is None:
            return "unreachable"
        return "ready" if version in self.wanted(modality) else "wrong_version"

    def _untaken(self, modalities: Collection[Modality]) -> list[Modality]:
        taken = {modality for head in self.require_heads() for modality in head.encoders}
        return [modality for modality in modalities if modality not in taken]

    async def _ask_fusion(self) -> None:
        try:
            heads = await self.fusion.describe(time.monotonic() + PATIENCE)
        except MeshError as error:
            if self.fusion_ready:
                log.warning("fusion does not answer", error=error.message)
            self.fusion_ready = False
            return
        if heads != self.heads:
            log.info("fusion holds", heads=[f"{head.name}@{head.version}" for head in heads])
        self.heads, self.fusion_ready = heads, True

    async def _ask_encoder(self, modality: Modality) -> None:
        version: str | None
        try:
            version = await self.encoders[modality].describe(time.monotonic() + PATIENCE)
        except MeshError:
            version = None
        if version != self.versions.get(modality):
            log.info("encoder", modality=modality, version=version or "does not answer")
        self.versions = {**self.versions, modality: version}


def best_head(
    heads: Sequence[Head], versions: Mapping[Modality, str]
) -> tuple[Head, set[Modality]]:
    """The head that understands the most of these embeddings, and which; the first of equals."""
    understood = [
        (head, {m for m, version in versions.items() if head.encoders.get(m) == version})
        for head in heads
    ]
    return max(understood, key=lambda one: len(one[1]))
