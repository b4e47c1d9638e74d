"""Models' folders with just what `sensemesh up` reads of them."""

import json
from collections.abc import Collection
from pathlib import Path


def write_model(folder: Path, takes: Collection[str], brings: Collection[str]) -> Path:
    """A model whose head was trained on `takes`, with folders for the encoders that it `brings`."""
    for part in ("fusion", *brings):
        (folder / part).mkdir(parents=True)
    encoders = {modality: {"version": "sha256:0", "dim": 1} for modality in takes}
    (folder / "fusion" / "config.json").write_text(json.dumps({"encoders": encoders}))
    return folder
