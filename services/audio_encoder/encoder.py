"""The audio encoder: preprocessing and model together, behind the mesh's Encoder contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt
import soundfile

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import Engine, EngineBuilder
from mesh.settings import InputLimits
from services.audio_encoder.preprocess import (
    REVISION,
    AudioConfig,
    AudioItem,
    AudioPreprocessor,
    collate,
)
from services.audio_encoder.spectrogram import FRAMES_PER_SECOND, SAMPLE_RATE

if TYPE_CHECKING:
    from services.audio_encoder.network import Network

# Two sounds of full length. Beyond that a CPU takes longer, and no less time per sound.
MAX_BATCH_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class AudioEncoder:
    """Encodes sound files with one artifact's model on one device."""

    version: str
    dim: int
    limits: Mapping[str, float]
    _preprocess: AudioPreprocessor
    _engine: Engine

    modality = Modality.AUDIO
    max_batch_size = MAX_BATCH_SECONDS

    @classmethod
    def load(cls, artifact: Artifact, engine: EngineBuilder, limits: InputLimits) -> Self:
        """Build the artifact's model.

        Without a `base` all the weights are the artifact's own; ValueError as check_fits,
        ArtifactError where it was made for other preprocessing.
        """
        artifact.check_preprocess(REVISION)
        preprocess = AudioPreprocessor(
            AudioConfig(**artifact.config["preprocess"]),
            limits.max_audio_bytes,
            limits.max_audio_seconds,
        )
        example = collate([preprocess(_example())])
        run = engine(lambda: _network(artifact, preprocess.config), example)
        return cls(
            version=artifact.version,
            dim=run.dim,
            limits={"bytes": limits.max_audio_bytes, "seconds": limits.max_audio_seconds},
            _preprocess=preprocess,
            _engine=run,
        )

    @property
    def example(self) -> bytes:
        """A WAV with one second of a 440 Hz tone."""
        return _example()

    def preprocess(self, raw: Raw) -> AudioItem:
        """Decode one file and compute its spectrogram; raises as AudioPreprocessor does."""
        return self._preprocess(raw)

    def forward(self, items: Sequence[AudioItem]) -> npt.NDArray[np.float32]:
        """Encode one batch: float32 of shape (len(items), dim)."""
        liked = self._engine.length(max(item.mel.shape[1] for item in items))
        most = self._preprocess.config.seconds * FRAMES_PER_SECOND
        return self._engine(collate(items, min(liked, most)))


def _network(artifact: Artifact, preprocess: AudioConfig) -> "Network":
    # Here, so that a node whose engine kept the network starts without its code.
    from services.audio_encoder.model import ARCHITECTURES

    architecture = ARCHITECTURES[artifact.config["architecture"]]
    network = architecture.build(artifact.config["model"])
    base = architecture.read(artifact.base_weights()) if "base" in artifact.config else {}
    network.load_state_dict(base | artifact.weights())
    check_fits(network, preprocess)
    return network


def check_fits(network: "Network", config: AudioConfig) -> None:
    """Raises ValueError where the network can't take every spectrogram of preprocessing."""
    if config.mels != network.mels:
        raise ValueError(
            f"preprocess gives {config.mels} mels, but the network takes {network.mels}"
        )
    frames = config.seconds * FRAMES_PER_SECOND
    if network.longest is not None and frames > network.longest:
        raise ValueError(
            f"{config.seconds} seconds are {frames} frames, but the network takes {network.longest}"
        )


def _example() -> bytes:
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    file = BytesIO()
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * 440 * seconds), SAMPLE_RATE, format="WAV")
    return file.getvalue()
