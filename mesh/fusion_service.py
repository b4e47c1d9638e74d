"""mesh.v1.Fusion over one or more Heads, preferred first. Wire types stop here.

Each example is classified by the head that was trained on exactly its embeddings' versions. A call
is answered whole or not at all.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import grpc.aio
import structlog

from mesh.classifying import Classifier
from mesh.embedding import Embedding, Modality, embedding_from_pb, modality_to_pb
from mesh.errors import InvalidInput, MeshError, TooLarge, VersionMismatch
from mesh.head import Embeddings, Head, HeadItem, Vector
from mesh.replicas import replica_numbers
from mesh.settings import NodeSettings
from mesh.statuses import MAX_REQUEST_ID, Context, time_left
from mesh.telemetry import NodeMetrics
from mesh.v1 import fusion_pb2 as pb
from mesh.v1 import fusion_pb2_grpc as rpc

log = structlog.stdlib.get_logger(__name__)

# Each example costs a place and a future.
MAX_EXAMPLES: Final = 1024


class FusionService(rpc.FusionServicer):
    """Serves several classifiers, preferred first, each as replicas on several devices."""

    grpc_name: ClassVar[str] = "mesh.v1.Fusion"
    # No other node works at the same request meanwhile.
    item_seconds: ClassVar[float | None] = None

    def __init__(
        self,
        classifiers: Sequence[Sequence[Classifier]],
        settings: NodeSettings,
        metrics: NodeMetrics,
    ) -> None:
        self._heads = [Head(replicas, settings, metrics) for replicas in classifiers]
        self._replicas = replica_numbers(len(classifiers[0]))
        self._settings = settings
        self._metrics = metrics

    def register(self, server: grpc.aio.Server) -> None:
        """Add the methods of mesh.v1.Fusion to a server."""
        rpc.add_FusionServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Begin to run batches, on the running loop."""
        for head in self._heads:
            head.start()

    async def close(self, grace: float) -> None:
        """Finish what was taken in, for up to `grace` seconds."""
        await asyncio.gather(*(head.close(grace) for head in self._heads))

    def info(self) -> Mapping[str, Any]:
        """What the classifiers are, for people."""
        return {
            "artifacts": [_info(head.classifier) for head in self._heads],
            "engine": self._settings.engine,
            "dtype": self._settings.dtype,
        }

    async def Describe(
        self, request: pb.FusionDescribeRequest, context: Context
    ) -> pb.FusionDescribeResponse:
        """Names, versions, labels, and the encoder versions that each was trained on."""
        return pb.FusionDescribeResponse(
            artifacts=[_artifact(head.classifier) for head in self._heads]
        )

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """A Classification for each example, in the examples' order."""
        self._metrics.classify_called()
        start = time.monotonic()
        deadline = start + time_left(context, self._settings.timeout_max)
        try:
            response = await self._classify(request, deadline)
        except MeshError as error:
            self._metrics.answered(error.code, len(request.examples))
            raise
        self._metrics.answered("OK", len(response.classifications))
        _log_call(request, time.monotonic() - start)
        return response

    async def _classify(self, request: pb.ClassifyRequest, deadline: float) -> pb.ClassifyResponse:
        examples = request.examples
        if len(examples) > MAX_EXAMPLES:
            raise TooLarge(f"a call takes at most {MAX_EXAMPLES} examples")
        chosen = [self._choose(_embeddings(example), request.version) for example in examples]
        rows = {
            head: iter(await head.classify([i for h, i in chosen if h is head], deadline))
            for head in dict.fromkeys(head for head, _ in chosen)
        }
        response = pb.ClassifyResponse(replica=next(self._replicas))
        for head, _ in chosen:
            _add(response, head.classifier, next(rows[head]))
        return response

    def _choose(self, embeddings: Embeddings, version: str) -> tuple[Head, HeadItem]:
        for head in self._heads:
            is_asked_for = version in ("", head.classifier.version)
            if is_asked_for and head.understands(embeddings):
                return head, head.item(embeddings)
        raise VersionMismatch("no artifact was trained on exactly these encoder versions")


def _embeddings(example: pb.Example) -> dict[Modality, Embedding]:
    """The embeddings by modality; InvalidInput for none, or two of one modality."""
    embeddings = [embedding_from_pb(message) for message in example.embeddings]
    found = {embedding.modality: embedding for embedding in embeddings}
    if not embeddings or len(found) < len(embeddings):
        raise InvalidInput("an example holds one to three embeddings, each of another modality")
    return found


def _add(response: pb.ClassifyResponse, classifier: Classifier, probabilities: Vector) -> None:
    # In its place: a message that was made by itself would be serialised to be taken over.
    message = response.classifications.add(name=classifier.name, version=classifier.version)
    for label, probability in zip(classifier.labels, probabilities.tolist(), strict=True):
        message.scores.add(label=label, probability=probability)


def _artifact(classifier: Classifier) -> pb.FusionArtifact:
    return pb.FusionArtifact(
        name=classifier.name,
        version=classifier.version,
        labels=classifier.labels,
        encoders=[
            pb.TrainedOn(modality=modality_to_pb(modality), version=e.version, dim=e.dim)
            for modality, e in classifier.encoders.items()
        ],
    )


def _info(classifier: Classifier) -> dict[str, Any]:
    return {
        "name": classifier.name,
        "version": classifier.version,
        "labels": list(classifier.labels),
        "encoders": {modality: e.version for modality, e in classifier.encoders.items()},
    }


def _log_call(request: pb.ClassifyRequest, seconds: float) -> None:
    log.info(
        "classified",
        examples=len(request.examples),
        seconds=round(seconds, 4),
        request_ids=[example.request_id[:MAX_REQUEST_ID] for example in request.examples],
    )
