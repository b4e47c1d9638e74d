"""An artifact on disk of a tiny fusion head: random weights, seed 0."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import safetensors.torch
import torch

from mesh.artifact import Artifact
from services.fusion.model import FUSIONS

LABELS: Final = ("glad", "sad")
DIMS: Final = {"text": 3, "image": 2, "audio": 4}


def fusion_artifact(
    folder: Path, architecture: str = "concat", modalities: Sequence[str] = tuple(DIMS)
) -> Artifact:
    """A head over some of text, image and audio."""
    torch.manual_seed(0)
    dims = {name: DIMS[name] for name in modalities}
    model = {"width": 4, "hidden": 4, "input_dropout": [0.5] * len(dims), "dropout": 0.5}
    head = FUSIONS[architecture]({"dims": [*dims.values()], "classes": len(LABELS), **model})
    safetensors.torch.save_file(head.state_dict(), folder / "model.safetensors")
    config = {
        "name": "tiny",
        "architecture": architecture,
        "labels": LABELS,
        "encoders": {name: {"version": f"sha256:{name}", "dim": dim} for name, dim in dims.items()},
        "model": model,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return Artifact.open(folder)
