"""Golden examples: what a node checks before it serves an artifact.

They are computed by torch in float32, through the serving code, from the artifact as it is stored.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from mesh.artifact import OUTPUTS, Artifact
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.golden import EMBEDDINGS, PROBABILITIES
from mesh.settings import InputLimits
from services.fusion.classifier import FusionClassifier
from training.embed import ENCODERS
from training.errors import TrainingError

SUFFIXES = {
    Modality.TEXT: (".txt",),
    Modality.IMAGE: (".jpg", ".png"),
    Modality.AUDIO: (".wav", ".flac"),
}

# They lie beside the packages.
SAMPLES: Final = Path(__file__).parents[1] / "samples"

# The least cosine to the golden outputs, for each class of engines.
TOLERANCE = {"fp32": 0.9999, "bf16": 0.99}


def write_encoder_golden(
    artifact: Path, modality: Modality, samples: Path, engine: EngineBuilder
) -> np.ndarray:
    """Give an encoder's artifact the samples of its modality; their embeddings (samples, dim)."""
    found = sorted(file for file in samples.iterdir() if file.suffix in SUFFIXES[modality])
    _empty_folder(artifact / "golden")
    names = [f"golden/{number}{file.suffix}" for number, file in enumerate(found)]
    for file, name in zip(found, names, strict=True):
        shutil.copyfile(file, artifact / name)
    _name_inputs(artifact, names)
    encoder = ENCODERS[modality](Artifact.open(artifact), engine, InputLimits())
    items = [encoder.preprocess(_raw(modality, file)) for file in found]
    vectors = np.concatenate([encoder.forward([item]) for item in items])
    write_tensors(artifact / OUTPUTS, {EMBEDDINGS: vectors})
    return vectors


def write_fusion_golden(
    artifact: Path, vectors: Mapping[Modality, np.ndarray], engine: EngineBuilder
) -> None:
    """Give fusion's artifact an example of each subset of the modalities that have embeddings."""
    _empty_folder(artifact / "golden")
    examples = [
        {modality: vectors[modality][number % len(vectors[modality])] for modality in subset}
        for number, subset in enumerate(subsets(vectors))
    ]
    names = [f"golden/{number}.safetensors" for number in range(len(examples))]
    for example, name in zip(examples, names, strict=True):
        write_tensors(artifact / name, {str(key): vector for key, vector in example.items()})
    _name_inputs(artifact, names)
    classifier = FusionClassifier.load(Artifact.open(artifact), engine)
    probabilities = classifier.classify(examples)
    if not np.isfinite(probabilities).all():
        raise TrainingError(f"{artifact}: the head gives probabilities that are not finite")
    write_tensors(artifact / OUTPUTS, {PROBABILITIES: probabilities})


def subsets(modalities: Iterable[Modality]) -> list[tuple[Modality, ...]]:
    """All subsets of the modalities but the empty one, the smallest first."""
    known = tuple(modalities)
    return [subset for size in range(1, len(known) + 1) for subset in combinations(known, size)]


def write_config(artifact: Path, config: Mapping[str, Any]) -> None:
    """Write config.json as all artifacts have it."""
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (artifact / "config.json").write_text(text + "\n", encoding="utf-8")


def write_tensors(file: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a safetensors file, which `save_file` would make unreadable to other users."""
    file.write_bytes(save({name: np.ascontiguousarray(array) for name, array in tensors.items()}))


def _name_inputs(artifact: Path, names: Sequence[str]) -> None:
    config = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    write_config(artifact, {**config, "golden": {"inputs": names, "tolerance": TOLERANCE}})


def _empty_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _raw(modality: Modality, file: Path) -> str | bytes:
    return file.read_text(encoding="utf-8") if modality is Modality.TEXT else file.read_bytes()
