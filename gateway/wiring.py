"""Makes the pipeline with everything that it stands on, in the loop that will run it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cache import Cache
from gateway.catalog import Catalog
from gateway.clients import EncoderClient, FusionClient
from gateway.contract import Known, Prediction, PredictRequest
from gateway.embedder import Embedder
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.store import Store
from gateway.turns import Turns
from mesh.channels import open_channel
from mesh.embedding import Modality
from mesh.settings import GatewaySettings


@dataclass(slots=True)
class Mesh:
    """The mesh as the gateway's routes see it."""

    pipeline: Pipeline
    catalog: Catalog
    store: Store
    encoders: Mapping[Modality, EncoderClient]
    fusion: FusionClient
    watching: asyncio.Task[None]

    def recall(self, request: PredictRequest) -> Known | None:
        """The answer that this process knows already. Callable from any thread."""
        return self.pipeline.recall(request)

    async def classify(self, request: PredictRequest) -> Prediction:
        """The class of one request; runs in the mesh's own loop."""
        return await self.pipeline.classify(request)

    def ready(self) -> bool:
        """Whether fusion and an encoder that it uses answer. Callable from any thread."""
        return self.catalog.ready()

    def describe(self) -> dict[str, object]:
        """Models, encoders and their state, for people and tools. Callable from any thread."""
        return self.catalog.describe()

    async def close(self) -> None:
        """Stop watching, then close every connection."""
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)
        for encoder in self.encoders.values():
            await encoder.close()
        await self.fusion.close()
        await self.store.close()


async def open_mesh(settings: GatewaySettings, metrics: GatewayMetrics) -> Mesh:
    """Open every channel and pool in the running loop. Nothing needs to answer yet."""
    targets = {
        Modality.TEXT: settings.text_encoder_targets,
        Modality.IMAGE: settings.vision_encoder_targets,
        Modality.AUDIO: settings.audio_encoder_targets,
    }
    encoders = {
        modality: EncoderClient(modality, open_channel(target, settings.max_body), metrics)
        for modality, target in targets.items()
    }
    fusion = FusionClient(open_channel(settings.fusion_targets, settings.max_body), metrics)
    store = Store.connect(settings, metrics)
    catalog = Catalog(fusion, encoders)
    cache = Cache(store, metrics)
    embedder = Embedder(encoders, Turns(cache, store, shared=_has_peers(settings)))
    pipeline = Pipeline(catalog, embedder, fusion, cache, metrics, settings.fusion_reserve)
    watching = asyncio.create_task(catalog.watch())
    return Mesh(pipeline, catalog, store, encoders, fusion, watching)


def _has_peers(settings: GatewaySettings) -> bool:
    """Whether another gateway may be about to encode what this one gets."""
    if settings.encode_once == "auto":
        return settings.gateway_processes > 1
    return settings.encode_once == "on"
