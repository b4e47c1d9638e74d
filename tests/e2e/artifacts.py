"""A second model that is really another one, and yet gives the same classes.

Its text encoder is the default one with the sign of each number turned, and its fusion head expects
that. So an encoder and a head that belong together answer as before, and any mixture would not.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.golden import EMBEDDINGS
from mesh.torch_engine import torch_engine
from services.text_encoder.bert import read_bert
from tests.e2e.inputs import ROOT
from training.golden import write_config, write_encoder_golden, write_fusion_golden

LAST_NORM: Final = "layers.5.mlp_norm"
WEIGHTS: Final = "model.safetensors"

_engine = partial(torch_engine, device="cpu", dtype=torch.float32)


def write_turned_model(model: Path, folder: Path) -> None:
    """Make it from the default model, in a folder that is not there yet."""
    shutil.copytree(model, folder)
    vectors = {
        modality: Artifact.open(folder / modality).golden_outputs()[EMBEDDINGS]
        for modality in Modality
    }
    vectors[Modality.TEXT] = _turn_text_encoder(folder / Modality.TEXT)
    _turn_head(folder, vectors)


def _turn_text_encoder(folder: Path) -> np.ndarray:
    """Turn the last layer's weight and bias; the golden embeddings that come of it."""
    artifact = Artifact.open(folder)
    weights, trained = read_bert(artifact.base_weights()) | artifact.weights(), artifact.weights()
    for part in ("weight", "bias"):
        name = f"{LAST_NORM}.{part}"
        trained[name] = -weights[name]
    save_file(trained, folder / WEIGHTS)
    return write_encoder_golden(folder, Modality.TEXT, ROOT / "samples", _engine)


def _turn_head(folder: Path, vectors: dict[Modality, np.ndarray]) -> None:
    """Turn what the head subtracts from text and divides it by, and name the new encoder."""
    head = Artifact.open(folder / "fusion")
    encoders, weights = dict(head.config["encoders"]), head.weights()
    for name in ("mean", "deviation"):
        weights[name][: encoders["text"]["dim"]] *= -1
    save_file(weights, head.path / WEIGHTS)
    version = Artifact.open(folder / Modality.TEXT).version
    encoders["text"] = encoders["text"] | {"version": version}
    write_config(head.path, dict(head.config) | {"encoders": encoders})
    write_fusion_golden(head.path, vectors, _engine)
