"""An encoder that sleeps as if a GPU computed: `python -m benchmarks.sleeping_encoder`.

A batch takes BATCH_SECONDS whatever is in it, and nothing of the processor. It gives embeddings of
the default audio encoder's version, so that fusion takes them. Settings are a node's MESH_*.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from mesh.embedding import Modality
from mesh.encoder_service import EncoderService
from mesh.encoding import Raw
from mesh.node import serve
from mesh.settings import NodeSettings, load
from mesh.telemetry import NodeMetrics

BATCH: Final = 4
# 25 inputs a second of each replica: four of them are far from filling two cores' gateway.
BATCH_SECONDS: Final = 0.16


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound that nobody decoded."""

    size: float = 1.0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class SleepingEncoder:
    """Stands for the slowest encoder."""

    version: str
    dim: int
    modality = Modality.AUDIO
    limits: ClassVar[Mapping[str, float]] = {}
    max_batch_size = float(BATCH)
    example = b"any"

    def preprocess(self, raw: Raw) -> Sound:
        """Nothing: a GPU's machine has cores for it."""
        return Sound()

    def forward(self, items: Sequence[Sound]) -> npt.NDArray[np.float32]:
        """Ones, after a while."""
        time.sleep(BATCH_SECONDS)
        return np.ones((len(items), self.dim), np.float32)


def _load(settings: NodeSettings, metrics: NodeMetrics) -> EncoderService:
    fusion = json.loads((Path(settings.model) / "fusion/config.json").read_text())
    return EncoderService([SleepingEncoder(**fusion["encoders"]["audio"])], settings, metrics)


if __name__ == "__main__":
    serve("audio-encoder", load(NodeSettings), _load)
