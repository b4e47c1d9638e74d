"""Artifacts on disk for the fake models, golden examples included."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from mesh.artifact import OUTPUTS, Artifact
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.golden import EMBEDDINGS, PROBABILITIES
from mesh.settings import InputLimits
from tests.fake_models import FakeClassifier, FakeEncoder

TOLERANCE = {"fp32": 0.9999, "bf16": 0.99}


def write_encoder(folder: Path, *, right: bool = True) -> Path:
    """An artifact of FakeEncoder; `right=False` gives it outputs that no FakeEncoder computes."""
    outputs = np.array([[5, ord("h"), 1], [2, ord("o"), 1]], dtype=np.float32)
    if not right:
        outputs[1] = [1, -1, 1]
    inputs = {"golden/0.txt": b"hello", "golden/1.txt": b"oh"}
    return _write(folder, inputs, {EMBEDDINGS: outputs})


def write_fusion(folder: Path, *, right: bool = True) -> Path:
    """An artifact of FakeClassifier; `right=False` gives it a class that it does not compute."""
    one, two = {Modality.TEXT: np.ones(3, np.float32)}, {}
    two = {modality: np.ones(3, np.float32) for modality in (Modality.TEXT, Modality.AUDIO)}
    inputs = {"golden/0.safetensors": _vectors(one), "golden/1.safetensors": _vectors(two)}
    # Within the cosine's tolerance of (0.4, 0.6) there is no other class, so it is made wider.
    outputs = np.array([[0.7, 0.3], [0.4, 0.6] if right else [0.6, 0.4]], dtype=np.float32)
    return _write(folder, inputs, {PROBABILITIES: outputs}, tolerance={"fp32": 0.9, "bf16": 0.9})


def load_encoder(artifact: Artifact, engine: EngineBuilder, limits: InputLimits) -> FakeEncoder:
    """FakeEncoder as a node loads it."""
    return FakeEncoder(version=artifact.version)


def load_classifier(artifact: Artifact, engine: EngineBuilder) -> FakeClassifier:
    """FakeClassifier as a node loads it."""
    return FakeClassifier(version=artifact.version)


def _vectors(example: Mapping[Modality, np.ndarray]) -> bytes:
    return safetensors.numpy.save({str(modality): v for modality, v in example.items()})


def _write(
    folder: Path,
    inputs: Mapping[str, bytes],
    outputs: Mapping[str, np.ndarray],
    tolerance: Mapping[str, float] = TOLERANCE,
) -> Path:
    (folder / "golden").mkdir(parents=True)
    for name, data in inputs.items():
        (folder / name).write_bytes(data)
    safetensors.numpy.save_file(dict(outputs), folder / OUTPUTS)
    golden: dict[str, Any] = {"inputs": [*inputs], "tolerance": tolerance}
    (folder / "config.json").write_text(json.dumps({"name": "fake", "golden": golden}))
    return folder
