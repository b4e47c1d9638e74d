"""One raw input to its embedding: a place, preprocessing on a thread, the Batcher, the model.

Knows nothing of gRPC; mesh.encoder_service is its wire.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from mesh.batching import Batcher
from mesh.embedding import Embedding
from mesh.encoding import Encoder, Item, Raw
from mesh.errors import DeadlineExpired, MeshError
from mesh.grouping import BatchLimits
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics, origin
from mesh.threads import Threads

log = structlog.stdlib.get_logger(__name__)

Vector = npt.NDArray[np.float32]


class ItemEncoder:
    """Feeds replicas of one encoder, one on each device. `start` it on the loop that will call."""

    def __init__(
        self, encoders: Sequence[Encoder[Any]], settings: NodeSettings, metrics: NodeMetrics
    ) -> None:
        self.encoder = encoders[0]
        self._metrics = metrics
        self._threads = Threads(settings.threads or os.cpu_count() or 1, "preprocess")
        self._batcher: Batcher[Item, Vector] = Batcher(
            [_forward(encoder) for encoder in encoders],
            BatchLimits(settings.max_batch, settings.max_batch_cost or self.encoder.max_batch_size),
            settings.max_queue,
            metrics,
        )

    def start(self) -> None:
        """Begin to run batches."""
        self._batcher.start()

    async def close(self, grace: float) -> None:
        """Refuse new inputs, and finish those that were taken in, for up to `grace` seconds."""
        await self._batcher.close(grace)
        self._threads.close()

    async def encode(self, raw: Raw, deadline: float) -> Embedding:
        """The embedding of one input; `deadline` is on the clock of `time.monotonic()`.

        Raises the encoder's own InputErrors, Overloaded where no place is free, DeadlineExpired
        where the model could not begin in time, Unavailable where the node is stopping, and a
        plain MeshError where the encoder failed.
        """
        with self._batcher.reserve() as submit:
            item = await self._preprocess(raw, deadline)
            return self._embedding(await submit(item, deadline), item.truncated)

    async def _preprocess(self, raw: Raw, deadline: float) -> Item:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._threads.run(self._checked_preprocess, raw, deadline)
        except TimeoutError:
            self._metrics.dropped("expired")
            raise DeadlineExpired("its time was over before it was preprocessed") from None
        except asyncio.CancelledError:
            self._metrics.dropped("cancelled")
            raise

    def _checked_preprocess(self, raw: Raw, deadline: float) -> Item:
        """On a thread: raises MeshErrors only, and TimeoutError where it is too late to begin."""
        if deadline <= time.monotonic():
            raise TimeoutError
        try:
            item: Item = self.encoder.preprocess(raw)
        except MeshError:
            raise
        except Exception as error:
            log.error("preprocessing_failed", origin=origin(error))
            raise MeshError("preprocessing failed") from None
        return item

    def _embedding(self, vector: Vector, truncated: bool) -> Embedding:
        if not np.isfinite(vector).all():
            raise MeshError("the model gave numbers that are not finite")
        encoder = self.encoder
        data = vector.astype("<f4", copy=False).tobytes()
        return Embedding(encoder.modality, encoder.version, "float32", encoder.dim, data, truncated)


def _forward(encoder: Encoder[Any]) -> Callable[[Sequence[Item]], Sequence[Vector]]:
    """The encoder's forward as a worker of the Batcher, held to its contract."""

    def forward(items: Sequence[Item]) -> list[Vector]:
        vectors = encoder.forward(items)
        if vectors.shape != (expected := (len(items), encoder.dim)):
            raise MeshError(f"the model gave an array of shape {vectors.shape}, not {expected}")
        return list(vectors)

    return forward
