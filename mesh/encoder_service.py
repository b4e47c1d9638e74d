"""mesh.v1.Encoder over an ItemEncoder. Wire types stop here.

What becomes of an item is in its own Result, so that one bad item never fails its neighbours. A
call fails as a whole only where the node is stopping: then gRPC tries it at another one.
"""

import contextvars
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import grpc.aio
import structlog

from mesh.embedding import Embedding, Modality, modality_to_pb, write_embedding
from mesh.encoding import Encoder, Raw, Usual
from mesh.errors import (
    InvalidInput,
    MeshError,
    Overloaded,
    TooLarge,
)
from mesh.item_encoder import Asked, ItemEncoder
from mesh.micro_batching import batch_limits, micro_batch_limits
from mesh.places import Caller
from mesh.replicas import replica_numbers
from mesh.settings import NodeSettings
from mesh.statuses import MAX_REQUEST_ID, Context, time_left
from mesh.telemetry import NodeMetrics
from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc as rpc

log = structlog.stdlib.get_logger(__name__)

# Each item costs a place and a future, however small it is.
MAX_ITEMS: Final = 1024

_CODES: Final[dict[str, pb.Code]] = {name: getattr(pb, name) for name, _ in pb.Code.items()}


class EncoderService(rpc.EncoderServicer):
    """Serves replicas of one encoder, one on each device."""

    grpc_name: ClassVar[str] = "mesh.v1.Encoder"

    def __init__(
        self,
        encoders: Sequence[Encoder[Any]],
        settings: NodeSettings,
        metrics: NodeMetrics,
        usual: Usual | None = None,
    ) -> None:
        """Without `usual`, the encoder's example counts as an item of usual size."""
        self.item_seconds = usual.core_seconds if usual else None
        self._encoder = encoders[0]
        self._settings = settings
        self._metrics = metrics
        self._items = ItemEncoder(encoders, settings, metrics, usual)
        self._bytes = 0
        self._replicas = replica_numbers(len(encoders))

    def register(self, server: grpc.aio.Server) -> None:
        """Add the methods of mesh.v1.Encoder to a server."""
        rpc.add_EncoderServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Begin to run batches, on the running loop."""
        self._items.start()

    async def close(self, grace: float) -> None:
        """Finish what was taken in, for up to `grace` seconds."""
        await self._items.close(grace)

    def info(self) -> Mapping[str, Any]:
        """What the encoder is, for people."""
        return {
            "modality": self._encoder.modality,
            "version": self._encoder.version,
            "dim": self._encoder.dim,
            "limits": dict(self._encoder.limits),
            "engine": self._settings.engine,
            "dtype": self._settings.dtype,
            "max_batch_cost": batch_limits(self._encoder, self._settings).max_cost,
            "micro_batch_cost": micro_batch_limits(self._encoder, self._settings).max_cost,
            "core_seconds": self.item_seconds,
        }

    async def Describe(
        self, request: pb.EncoderDescribeRequest, context: Context
    ) -> pb.EncoderDescribeResponse:
        """The modality, version, dim and limits, and how many items make a batch."""
        return pb.EncoderDescribeResponse(
            modality=modality_to_pb(self._encoder.modality),
            version=self._encoder.version,
            dim=self._encoder.dim,
            limits=self._encoder.limits,
            batch_items=self._items.batch_items,
        )

    async def Encode(self, request: pb.EncodeRequest, context: Context) -> pb.EncodeResponse:
        """A Result for each item, in the items' order."""
        self._metrics.encode_called()
        if len(request.items) > MAX_ITEMS:
            raise TooLarge(f"a call takes at most {MAX_ITEMS} items")
        start = time.monotonic()
        latest = start + time_left(context, self._settings.timeout_max)
        raws = [_payload(item, self._encoder.modality) for item in request.items]
        size = sum(map(_size, request.items, raws))
        with self._holding(size) as fits:
            asked = [
                self._asked(item, raw, start, latest) if fits else self._overloaded()
                for item, raw in zip(request.items, raws, strict=True)
            ]
            outcomes = await self._encode(asked)
        response = pb.EncodeResponse(replica=next(self._replicas))
        for outcome in outcomes:
            self._write(outcome, response.results.add())
        _log_call(request, response.results, time.monotonic() - start)
        return response

    @contextmanager
    def _holding(self, size: int) -> Iterator[bool]:
        """Count a call's bytes while it is served; whether they fit. A call alone always does."""
        fits = self._bytes == 0 or self._bytes + size <= self._settings.max_in_flight_bytes
        self._bytes += size
        try:
            yield fits
        finally:
            self._bytes -= size

    def _overloaded(self) -> MeshError:
        self._metrics.dropped("overloaded")
        return Overloaded("this node holds as many bytes as it may")

    def _asked(
        self, item: pb.Item, raw: Raw | MeshError, start: float, latest: float
    ) -> Asked | MeshError:
        if isinstance(raw, MeshError):
            return raw
        context = contextvars.copy_context()
        if item.request_id:
            name = item.request_id[:MAX_REQUEST_ID]
            context.run(structlog.contextvars.bind_contextvars, request_id=name)
        if math.isnan(item.timeout):
            return InvalidInput("timeout must be a number of seconds")
        # Zero, which is also what a caller sends that sets none, means that no time is left.
        return Asked(raw, Caller(min(latest, start + item.timeout), context))

    async def _encode(self, asked: Sequence[Asked | MeshError]) -> list[Embedding | MeshError]:
        """What became of each; what can't be encoded is so by its error."""
        valid = [one for one in asked if isinstance(one, Asked)]
        outcomes = iter(await self._items.encode(valid))
        return [one if isinstance(one, MeshError) else next(outcomes) for one in asked]

    def _write(self, outcome: Embedding | MeshError, result: pb.Result) -> None:
        """What became of an item, into its part of the response."""
        if isinstance(outcome, MeshError):
            self._metrics.answered(outcome.code)
            result.error.code = _CODES.get(f"CODE_{outcome.code}", pb.CODE_INTERNAL)
            result.error.message = outcome.message
        else:
            self._metrics.answered("OK")
            write_embedding(outcome, result.embedding)


def _payload(item: pb.Item, modality: Modality) -> Raw | MeshError:
    expected = "text" if modality is Modality.TEXT else "media"
    if (sent := item.WhichOneof("payload")) != expected:
        return InvalidInput(f"the {modality} encoder reads {expected}, not {sent or 'nothing'}")
    return item.text if modality is Modality.TEXT else item.media


def _size(item: pb.Item, raw: Raw | MeshError) -> int:
    """About its bytes: a text's characters, and not by ByteSize(), which writes all once more."""
    return item.ByteSize() if isinstance(raw, MeshError) else len(raw) + len(item.request_id)


def _log_call(request: pb.EncodeRequest, results: Sequence[pb.Result], seconds: float) -> None:
    log.info(
        "encoded",
        items=len(results),
        failed=sum(result.HasField("error") for result in results),
        seconds=round(seconds, 4),
        request_ids=[item.request_id[:MAX_REQUEST_ID] for item in request.items],
    )
