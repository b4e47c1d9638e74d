"""Raw inputs to their embeddings: places, preprocessing on a thread, the Batcher, the model.

Knows nothing of gRPC; mesh.encoder_service is its wire.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from mesh.batching import Batcher, Worker
from mesh.cores import ALONE, on_cpu
from mesh.embedding import Embedding
from mesh.encoding import Encoder, Item, Raw, Usual
from mesh.engine import is_on_cpu
from mesh.errors import MeshError, Overloaded, Unavailable
from mesh.grouping import BatchLimits
from mesh.micro_batching import batch_limits, forward, micro_batch_limits
from mesh.places import Caller, Place
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics, origin
from mesh.threads import Threads

log = structlog.stdlib.get_logger(__name__)

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Asked:
    """A raw input, and who wants it encoded."""

    raw: Raw
    caller: Caller


Taken = tuple[Place[Item, Vector], Asked]


class ItemEncoder:
    """Feeds replicas of one encoder, one on each device, MESH_WORKERS batches at a time.

    `start` it on the loop that will call.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder[Any]],
        settings: NodeSettings,
        metrics: NodeMetrics,
        usual: Usual | None = None,
    ) -> None:
        self.encoder = encoders[0]
        self._usual = usual
        self._parts = settings.threads or os.cpu_count() or 1
        self._threads = Threads(self._parts, "preprocess")
        self._limits = batch_limits(self.encoder, settings)
        micro = micro_batch_limits(self.encoder, settings)
        self._batcher: Batcher[Item, Vector] = Batcher(
            [_worker(encoder, micro) for encoder in encoders for _ in range(settings.workers)],
            self._limits,
            settings.max_queue,
            metrics,
            on_cpu() if is_on_cpu(settings) else ALONE,
        )

    @cached_property
    def batch_items(self) -> int:
        """How many items of usual size are a full batch."""
        usual = self._usual or Usual(self.encoder.preprocess(self.encoder.example).size)
        return self._limits.fit(usual.size)

    def start(self) -> None:
        """Begin to run batches."""
        self._batcher.start()

    async def close(self, grace: float) -> None:
        """Refuse new inputs, and finish those that were taken in, for up to `grace` seconds."""
        await self._batcher.close(grace)
        self._threads.close()

    async def encode(self, asked: Sequence[Asked]) -> list[Embedding | MeshError]:
        """The embedding of each input, or why there is none, in their order.

        An error is the encoder's own InputError, Overloaded where no place is free, DeadlineExpired
        where the model could not begin in time, or a plain MeshError where the encoder failed.
        Raises Unavailable where the node is stopping.
        """
        with self._batcher.reserve([one.caller for one in asked]) as places:
            taken = list(zip(places, asked, strict=False))
            loop = asyncio.get_running_loop()
            # One job for many: to hand one over to a thread takes longer than a text does there.
            jobs = [
                self._threads.run(self._preprocess, part, loop)
                for part in _split(taken, self._parts)
            ]
            try:
                outcomes = [self._embedding(place, await place.outcome) for place in places]
            finally:
                for job in jobs:
                    job.cancel()
        refused = len(asked) - len(outcomes)
        return [*outcomes, *[Overloaded("this node's queue is full")] * refused]

    def _preprocess(self, part: Sequence[Taken], loop: asyncio.AbstractEventLoop) -> None:
        """On a thread: give each its item as soon as it is there. Never raises."""
        for place, asked in part:
            # What is late is answered by its timer, and whoever left needs none.
            if not place.outcome.done() and asked.caller.deadline > time.monotonic():
                item = self._item(asked)
                with suppress(RuntimeError):  # The loop is closed: nobody waits.
                    loop.call_soon_threadsafe(self._batcher.submit, place, item)

    def _item(self, asked: Asked) -> Item | MeshError:
        try:
            item: Item = asked.caller.context.run(self.encoder.preprocess, asked.raw)
        except MeshError as error:
            return error
        except Exception as error:
            asked.caller.context.run(log.error, "preprocessing_failed", origin=origin(error))
            return MeshError("preprocessing failed")
        return item

    def _embedding(
        self, place: Place[Item, Vector], vector: Vector | MeshError
    ) -> Embedding | MeshError:
        if isinstance(vector, Unavailable):
            raise vector
        if isinstance(vector, MeshError):
            return vector
        if not np.isfinite(vector).all():
            return MeshError("the model gave numbers that are not finite")
        encoder, truncated = self.encoder, place.item is not None and place.item.truncated
        data = vector.astype("<f4", copy=False).tobytes()
        return Embedding(encoder.modality, encoder.version, "float32", encoder.dim, data, truncated)


def _split(taken: Sequence[Taken], parts: int) -> list[Sequence[Taken]]:
    """At most so many parts, one after the other, none of them empty."""
    size = max(1, -(-len(taken) // parts))
    return [taken[start : start + size] for start in range(0, len(taken), size)]


def _worker(encoder: Encoder[Any], limits: BatchLimits) -> Worker[Item, Vector]:
    """The encoder's forward, in parts of these limits, as a worker of the Batcher."""
    return lambda items: list(forward(encoder, items, limits))
