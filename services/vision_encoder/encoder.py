"""The vision encoder: preprocessing and model together, behind the mesh's Encoder contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import Engine, EngineBuilder
from mesh.settings import InputLimits
from services.vision_encoder.preprocess import (
    REVISION,
    ImageConfig,
    ImageItem,
    ImagePreprocessor,
)

if TYPE_CHECKING:
    from services.vision_encoder.network import Network

# Eight pictures of the usual size. Beyond that their feature maps leave a CPU's caches, and each
# picture takes longer: twice as long at 32.
MAX_BATCH_PIXELS: Final = 8 * 224 * 224


@dataclass(frozen=True, slots=True)
class VisionEncoder:
    """Encodes image files with one artifact's model on one device."""

    version: str
    dim: int
    limits: Mapping[str, float]
    _preprocess: ImagePreprocessor
    _engine: Engine

    modality = Modality.IMAGE
    max_batch_size = float(MAX_BATCH_PIXELS)

    @classmethod
    def load(cls, artifact: Artifact, engine: EngineBuilder, limits: InputLimits) -> Self:
        """Build the artifact's model.

        Without a `base` all the weights are the artifact's own; ValueError as check_fits,
        ArtifactError where it was made for other preprocessing.
        """
        artifact.check_preprocess(REVISION)
        preprocess = ImagePreprocessor(
            ImageConfig(**artifact.config["preprocess"]),
            limits.max_image_bytes,
            limits.max_image_pixels,
        )
        example = preprocess.collate([preprocess(_example())])
        run = engine(lambda: _network(artifact, preprocess), example)
        return cls(
            version=artifact.version,
            dim=run.dim,
            limits={"bytes": limits.max_image_bytes, "pixels": limits.max_image_pixels},
            _preprocess=preprocess,
            _engine=run,
        )

    @property
    def example(self) -> bytes:
        """A small PNG."""
        return _example()

    def preprocess(self, raw: Raw) -> ImageItem:
        """Decode and scale one file; raises as ImagePreprocessor does."""
        return self._preprocess(raw)

    def forward(self, items: Sequence[ImageItem]) -> npt.NDArray[np.float32]:
        """Encode one batch: float32 of shape (len(items), dim)."""
        return self._engine(self._preprocess.collate(items))


def _network(artifact: Artifact, preprocess: ImagePreprocessor) -> "Network":
    # Here, so that a node whose engine kept the network starts without its code.
    from services.vision_encoder.model import ARCHITECTURES

    architecture = ARCHITECTURES[artifact.config["architecture"]]
    network = architecture.build(artifact.config["model"])
    base = architecture.read(artifact.base_weights()) if "base" in artifact.config else {}
    network.load_state_dict(base | artifact.weights())
    check_fits(network, preprocess)
    return network


def check_fits(network: "Network", preprocess: ImagePreprocessor) -> None:
    """Raises ValueError where the network can't take pictures of preprocessing's size."""
    size = preprocess.config.size
    if network.size not in (None, size):
        raise ValueError(f"preprocess.size is {size}, but the network takes {network.size} only")


def _example() -> bytes:
    file = BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    return file.getvalue()
