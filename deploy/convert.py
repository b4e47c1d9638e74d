"""Part of the node's build: the default model, converted for OpenVINO, into MESH_ENGINE_CACHE.

What is converted doesn't depend on the processor, so a container on any of them starts without
doing it. The golden examples are checked on the way: a model that fails them ends the build.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from mesh.loading import load_encoder, load_fusion
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics, configure_logging
from services.audio_encoder.encoder import AudioEncoder
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder

# Which batch is the best is to be measured where the container runs, not here.
SETTINGS = NodeSettings(engine="openvino", dtype="float32", max_batch_cost=1.0)

Load = Callable[[NodeSettings, NodeMetrics], Any]
LOADS: tuple[Load, ...] = (
    partial(load_encoder, folder="text", load=TextEncoder.load),
    partial(load_encoder, folder="image", load=VisionEncoder.load),
    partial(load_encoder, folder="audio", load=AudioEncoder.load),
    partial(load_fusion, load=FusionClassifier.load),
)

if __name__ == "__main__":
    configure_logging("convert", "info")
    for load in LOADS:
        load(SETTINGS, NodeMetrics(CollectorRegistry()))
