"""A tiny trained model on disk, and a manifest: text and sound are encoded, pictures features."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.torch
import torch

from services.fusion.model import FUSIONS
from tests.encoder_artifacts import audio_artifact, text_artifact
from tests.media import sound, tone

LABELS: Final = ("glad", "sad")
FEATURES: Final = {"version": "sha256:elsewhere", "dim": 3}
WRITERS: Final = {"text": text_artifact, "audio": audio_artifact}
# Of a text, and of mean and deviation over time of two pooled layers of a sound.
DIMS: Final = {"text": 16, "audio": 64}
HERTZ: Final = {"glad": 440.0, "sad": 220.0}
HEADER: Final = "text,audio,image_features,label,split,group"


def write_model(
    folder: Path, join: str = "row", modalities: Sequence[str] = ("text", "image", "audio")
) -> Path:
    """Artifacts of the modalities' encoders and of a head with random weights, seed 0."""
    encoders = dict.fromkeys(modalities, FEATURES)
    for name in encoders.keys() & WRITERS.keys():
        (folder / name).mkdir(parents=True)
        version = WRITERS[name](folder / name).version
        encoders[name] = {"version": version, "dim": DIMS[name]}
    model = {"width": 4, "hidden": 4, "input_dropout": [0.5] * len(encoders), "dropout": 0.5}
    dims = [encoder["dim"] for encoder in encoders.values()]
    torch.manual_seed(0)
    head = FUSIONS["concat"]({"dims": dims, "classes": len(LABELS), **model})
    (folder / "fusion").mkdir(parents=True)
    safetensors.torch.save_file(head.state_dict(), folder / "fusion" / "model.safetensors")
    config = {"name": "tiny", "architecture": "concat", "labels": LABELS, "join": join}
    config |= {"encoders": encoders, "model": model}
    (folder / "fusion" / "config.json").write_text(json.dumps(config))
    return folder


def write_manifest(folder: Path, speakers: Sequence[str] = ("a", "b")) -> Path:
    """A text, a sound and features of a picture by each speaker for each class, in one row.

    Then for each class a row that is a text alone, and one of another split.
    """
    rows = [
        _row(folder, f"{speaker} is {label}", f"{speaker}-{label}", label, speaker)
        for speaker in speakers
        for label in LABELS
    ]
    alone = [f"happy is {label},,,{label},test," for label in LABELS]
    other = [f"is {label},,,{label},train," for label in LABELS]
    file = folder / "manifest.csv"
    file.write_text("\n".join([HEADER, *rows, *alone, *other]) + "\n", encoding="utf-8")
    return file


def _row(folder: Path, text: str, name: str, label: str, speaker: str) -> str:
    (folder / f"{name}.wav").write_bytes(sound(tone(0.2, hertz=HERTZ[label])))
    np.save(folder / f"{name}.npy", np.full(FEATURES["dim"], LABELS.index(label), np.float32))
    return f"{text},{name}.wav,{name}.npy,{label},test,{speaker}"
