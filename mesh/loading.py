"""From settings to a service that may be served: artifacts, a replica per device, golden examples.

What a node's `__main__` names is only which folder and which class.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from mesh.artifact import Artifact
from mesh.classifying import Classifier
from mesh.encoder_service import EncoderService
from mesh.encoding import Encoder
from mesh.engine import EngineBuilder, engine_builders, engine_class
from mesh.fusion_service import FusionService
from mesh.golden import check_classifier, check_encoder
from mesh.settings import InputLimits, NodeSettings
from mesh.telemetry import NodeMetrics

log = structlog.stdlib.get_logger(__name__)

LoadEncoder = Callable[[Artifact, EngineBuilder, InputLimits], Encoder[Any]]
LoadClassifier = Callable[[Artifact, EngineBuilder], Classifier]


def load_encoder(
    settings: NodeSettings, metrics: NodeMetrics, folder: str, load: LoadEncoder
) -> EncoderService:
    """An encoder on each of MESH_DEVICES, from `folder` of MESH_MODEL, warm and checked.

    Raises ArtifactError whatever is wrong in an artifact, and DeviceMissing.
    """
    builders = engine_builders(settings)
    artifact = Artifact.open(Path(settings.model) / folder)
    with artifact.blamed():
        encoders = [load(artifact, builder, settings) for builder in builders]
        for encoder in encoders:
            encoder.forward([encoder.preprocess(encoder.example)])
            least = check_encoder(encoder, artifact, engine_class(settings))
            log.info("golden_examples_hold", least_cosine=round(least, 6), version=artifact.version)
    return EncoderService(encoders, settings, metrics)


def load_fusion(
    settings: NodeSettings, metrics: NodeMetrics, load: LoadClassifier
) -> FusionService:
    """A head for each of MESH_MODEL's folders, preferred first, warm and checked.

    Raises ArtifactError whatever is wrong in an artifact, and DeviceMissing.
    """
    folders = [Path(model.strip()) / "fusion" for model in settings.model.split(",")]
    heads = [_load_head(Artifact.open(folder), settings, load) for folder in folders]
    return FusionService(heads, settings, metrics)


def _load_head(
    artifact: Artifact, settings: NodeSettings, load: LoadClassifier
) -> list[Classifier]:
    builders = engine_builders(settings)
    with artifact.blamed():
        replicas = [load(artifact, builder) for builder in builders]
        for replica in replicas:  # The golden examples also warm it up.
            least = check_classifier(replica, artifact, engine_class(settings))
            log.info("golden_examples_hold", least_cosine=round(least, 6), version=artifact.version)
    return replicas
