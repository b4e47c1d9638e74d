"""A tiny task of two classes that text, picture and sound each tell, and configs to train on it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from tests.ctranslate2_writer import write_whisper
from tests.encoder_artifacts import (
    BERT,
    WHISPER,
    WORDS,
    published_bert,
    tiny_bert,
    tiny_whisper,
    write_tokenizer,
)
from tests.media import encoded, sound, tone
from training.config import TrainConfig, read_config
from training.embed import ENCODERS, embed
from training.encoder import train_encoder
from training.manifest import read_manifest, write_manifest

LABELS: Final = ("glad", "sad")
HERTZ: Final = {"glad": 880.0, "sad": 220.0}
GREYS: Final = {"glad": 180, "sad": 70}
# Rows of each class.
ROWS: Final = MappingProxyType({"train": 8, "dev": 3, "test": 2})
FEATURES: Final = {"version": "sha256:elsewhere", "dim": 3}

FIT: Final[Mapping[str, Any]] = MappingProxyType(
    {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "head_learning_rate": 1e-2}
)
_TEXT: Final = {"tokenizer": "path:tokenizer.json", "preprocess": {"max_tokens": 8}}
_RNN: Final = {"vocab_size": len(WORDS), "embedding_size": 8, "hidden_size": 8, "num_layers": 1}
_GPT: Final = {
    "vocab_size": len(WORDS), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8
}  # fmt: skip
_VIT: Final = {
    "image_size": 16, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip

# An encoder of each family. Those with a `base` begin with what `write_task` lays beside.
FAMILIES: Final[Mapping[str, tuple[Modality, Mapping[str, Any]]]] = {
    "bert": (Modality.TEXT, {**_TEXT, "model": BERT, "base": "path:bert.safetensors"}),
    "gpt": (Modality.TEXT, {**_TEXT, "model": _GPT}),
    "rnn": (Modality.TEXT, {**_TEXT, "model": _RNN}),
    "efficientnet_lite0": (Modality.IMAGE, {"preprocess": {"size": 32}}),
    "cnn": (Modality.IMAGE, {"model": {"name": "shufflenet_v2_x0_5"}, "preprocess": {"size": 32}}),
    "vit": (Modality.IMAGE, {"model": _VIT, "preprocess": {"size": 16}}),
    "whisper": (Modality.AUDIO, {"model": WHISPER, "base": "path:whisper.bin"}),
    "crnn": (Modality.AUDIO, {"model": {"mels": 80, "channels": [4, 8], "hidden": 8}}),
    "tcn": (Modality.AUDIO, {"model": {"mels": 80, "channels": [8, 8]}}),
}


def section_of(family: str, **fit: Any) -> dict[str, Any]:
    """The config's section of a family, trained as FIT says but for these changes."""
    return {"architecture": family, **FAMILIES[family][1], "fit": {**FIT, **fit}}


def write_task(folder: Path, rows: Mapping[str, int] = ROWS) -> Path:
    """A manifest whose rows have all three inputs and features of the picture, and base weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    weights = published_bert(tiny_bert().state_dict())
    safetensors.torch.save_file(weights, folder / "bert.safetensors")
    write_whisper(folder / "whisper.bin", tiny_whisper())
    cells = [
        _row(folder, label, split, number)
        for split, count in rows.items()
        for number in range(count)
        for label in LABELS
    ]
    write_manifest(folder / "manifest.csv", cells)
    return folder / "manifest.csv"


def _row(folder: Path, label: str, split: str, number: int) -> dict[str, str]:
    """Inputs that no other row has; texts and sounds differ in length."""
    name = f"{split}-{number}-{label}"
    rng = np.random.default_rng([number, *name.encode()])
    pixels = (GREYS[label] + rng.integers(-40, 40, (24, 32))).astype(np.uint8)
    (folder / f"{name}.png").write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    samples = tone(0.1 + 0.05 * (number % 3), hertz=HERTZ[label] * rng.uniform(0.9, 1.1))
    (folder / f"{name}.wav").write_bytes(sound(samples))
    features = LABELS.index(label) + rng.normal(0, 0.1, FEATURES["dim"])
    np.save(folder / f"{name}.npy", features.astype(np.float32))
    return {
        "text": f"{'a ' * (number % 3)}{label} is {split} {number}",
        "image": f"{name}.png",
        "audio": f"{name}.wav",
        "image_features": f"{name}.npy",
        "label": label,
        "split": split,
    }


def write_config(folder: Path, **entries: Any) -> Path:
    """A config of these entries beside a task's manifest."""
    entries = {"name": "tiny", "manifest": "manifest.csv", **entries}
    file = folder / "tiny.toml"
    file.write_text("".join(f"{key} = {_toml(entry)}\n" for key, entry in entries.items()))
    return file


def config_of(folder: Path, **entries: Any) -> TrainConfig:
    """As `write_config`, read."""
    return read_config(write_config(folder, **entries))


def trained(task: Path, family: str, folder: Path, **fit: Any) -> tuple[Artifact, float]:
    """A family trained on a task into `folder`: its artifact, and its score on dev."""
    modality, _ = FAMILIES[family]
    config = config_of(task, **{modality: section_of(family, **fit)})
    best = train_encoder(config, modality, task, folder, folder / "state")
    assert best is not None
    return Artifact.open(folder / modality), best


def served(artifact: Artifact, manifest: Path) -> np.ndarray:
    """What the encoder that serves an artifact makes of a manifest's inputs: (rows, dim)."""
    modality = Modality(artifact.config["modality"])
    engine = partial(torch_engine, device="cpu", dtype=torch.float32)
    encoder = ENCODERS[modality](artifact, engine, InputLimits())
    return embed(encoder, [row.raw(modality) for row in read_manifest(manifest).rows])


def _toml(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value)
