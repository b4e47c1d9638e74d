"""Writes encoders' artifacts: config.json, and the weights that training changed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mesh.artifact import Artifact, ArtifactError, locate, sha256
from mesh.embedding import Modality
from services.audio_encoder import preprocess as audio
from services.audio_encoder.model import ARCHITECTURES as AUDIO
from services.text_encoder import preprocess as text
from services.text_encoder.model import ARCHITECTURES as TEXT
from services.vision_encoder import preprocess as image
from services.vision_encoder.model import ARCHITECTURES as VISION
from training.config import ConfigError, EncoderConfig
from training.golden import write_config, write_tensors

ARCHITECTURES: Final[Mapping[Modality, Mapping[str, Any]]] = {
    Modality.TEXT: TEXT,
    Modality.IMAGE: VISION,
    Modality.AUDIO: AUDIO,
}
PREPROCESS: Final = {
    Modality.TEXT: text.TextConfig,
    Modality.IMAGE: image.ImageConfig,
    Modality.AUDIO: audio.AudioConfig,
}
PREPROCESS_REVISION: Final = {
    Modality.TEXT: text.REVISION,
    Modality.IMAGE: image.REVISION,
    Modality.AUDIO: audio.REVISION,
}
WEIGHTS: Final = "model.safetensors"


def write_untrained(
    folder: Path, name: str, modality: Modality, config: EncoderConfig, beside: Path
) -> None:
    """Write the artifact of an encoder as training begins with it, over whatever was there.

    From its base, or with random weights of torch's present seed. `path:` sources are relative to
    the folder `beside`, and become part of the artifact. Raises ConfigError where the config
    doesn't fit the service.
    """
    known = ARCHITECTURES[modality]
    if config.architecture not in known:
        raise ConfigError(
            f"{modality}.architecture: {config.architecture!r} is none of {', '.join(known)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)
    write_config(folder, _config(folder, name, modality, config, beside))
    architecture = known[config.architecture]
    try:
        network = architecture.build(config.model)
        if config.base is None:
            write_weights(folder, network.state_dict())
        elif _is_local(config.base):
            write_weights(folder, architecture.read(locate(config.base, beside)))
    except ArtifactError:
        raise
    except Exception as error:  # Libraries raise all kinds of things of numbers they can't use.
        raise ConfigError(f"{modality}.model: {error}") from error


def _config(
    folder: Path, name: str, modality: Modality, config: EncoderConfig, beside: Path
) -> dict[str, Any]:
    try:
        preprocess = asdict(PREPROCESS[modality](**config.preprocess))
    except TypeError as error:
        raise ConfigError(f"{modality}.preprocess: {error}") from None
    base = None if config.base and _is_local(config.base) else config.base
    sources = {"base": base, "tokenizer": config.tokenizer}
    return {
        "name": name,
        "modality": modality,
        "architecture": config.architecture,
        "model": config.model,
        **{key: _entry(source, folder, beside) for key, source in sources.items() if source},
        "preprocess": preprocess,
        "preprocess_revision": PREPROCESS_REVISION[modality],
    }


def _is_local(source: str) -> bool:
    return source.startswith("path:")


def _entry(source: str, folder: Path, beside: Path) -> dict[str, str]:
    """A source with the hash that it has now."""
    file = locate(source, beside)
    if _is_local(source):
        shutil.copyfile(file, folder / file.name)
        source = f"path:{file.name}"
    return {"source": source, "sha256": sha256(file)}


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write what differs from the artifact's base, in half precision; everything without a base."""
    artifact = Artifact.open(folder)
    base: Mapping[str, torch.Tensor] = {}
    if "base" in artifact.config:
        architecture = ARCHITECTURES[Modality(artifact.config["modality"])]
        base = architecture[artifact.config["architecture"]].read(artifact.base_weights())
    changed = {name: w for name, w in weights.items() if not _is_same(w, base.get(name))}
    write_tensors(folder / WEIGHTS, {name: _stored(weight) for name, weight in changed.items()})


def _is_same(weight: torch.Tensor, base: torch.Tensor | None) -> bool:
    return base is not None and torch.equal(weight.cpu().float(), base.float())


def _stored(weight: torch.Tensor) -> np.ndarray:
    weight = weight.detach().cpu()
    return (weight.half() if weight.is_floating_point() else weight).numpy()


def add_to_config(folder: Path, **entries: Any) -> None:
    """Add to an artifact's config.json, over entries of the same names."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_config(folder, config | entries)
