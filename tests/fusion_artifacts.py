"""An artifact on disk of a tiny fusion head: random weights, seed 0."""

import json
from pathlib import Path
from typing import Final

import safetensors.torch
import torch

from mesh.artifact import Artifact
from services.fusion.model import ConcatFusion, FusionShape

LABELS: Final = ("glad", "sad")
DIMS: Final = {"text": 3, "image": 2, "audio": 4}
MODEL: Final = {"width": 4, "hidden": 4, "input_dropout": [0.5, 0.5, 0.5], "dropout": 0.5}


def fusion_artifact(folder: Path) -> Artifact:
    """A concat head over text, image and audio."""
    torch.manual_seed(0)
    head = ConcatFusion(FusionShape(dims=[*DIMS.values()], classes=len(LABELS), **MODEL))
    safetensors.torch.save_file(head.state_dict(), folder / "model.safetensors")
    config = {
        "name": "tiny",
        "architecture": "concat",
        "labels": LABELS,
        "encoders": {name: {"version": f"sha256:{name}", "dim": dim} for name, dim in DIMS.items()},
        "model": MODEL,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return Artifact.open(folder)
