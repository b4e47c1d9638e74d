"""Embeddings by the serving encoders, kept on disk by the encoder's version."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mesh.embedding import Modality
from mesh.encoding import Encoder, Item, Raw
from mesh.engine import EngineBuilder, prepare
from mesh.loading import LoadEncoder
from mesh.settings import NodeSettings, load
from mesh.torch_engine import torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder

# How each modality's encoder is built, as its node does it.
ENCODERS: Final[Mapping[Modality, LoadEncoder]] = {
    Modality.TEXT: TextEncoder.load,
    Modality.IMAGE: VisionEncoder.load,
    Modality.AUDIO: AudioEncoder.load,
}

# Items preprocessed at a time: enough to find batches of like lengths among them.
CHUNK: Final = 2048


def engine() -> EngineBuilder:
    """torch in float32 on the first of MESH_DEVICES, whatever MESH_ENGINE and MESH_DTYPE say.

    So a figure doesn't depend on how the mesh is run, nor does what `embed_cached` keeps. Ends the
    process where a setting can't be used; raises DeviceMissing where the device can't be.
    """
    settings = load(NodeSettings)
    device = settings.devices.partition(",")[0].strip()
    prepare(settings.model_copy(update={"devices": device}))
    return partial(torch_engine, device=device, dtype=torch.float32)


def embed_cached(encoder: Encoder[Any], inputs: Sequence[Raw], cache: Path) -> np.ndarray:
    """As `embed`, but computed once for the same version and inputs, and kept in a folder.

    The encoder's engine should be `engine`'s: nothing else tells the files of two engines apart.
    The inputs are gone through twice, one by one.
    """
    digest = hashlib.sha256(encoder.version.encode())
    for raw in inputs:
        digest.update(hashlib.sha256(raw.encode() if isinstance(raw, str) else raw).digest())
    file = cache / f"{encoder.modality}-{digest.hexdigest()}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _save(file, embed(encoder, inputs))
    vectors: np.ndarray = np.load(file)
    return vectors


def _save(file: Path, vectors: np.ndarray) -> None:
    """Write the file as a whole or, where the process ends meanwhile, not at all."""
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as output:
        np.save(output, vectors)
    part.replace(file)


def embed(encoder: Encoder[Any], inputs: Sequence[Raw]) -> np.ndarray:
    """The inputs' embeddings, float32 of shape (len(inputs), dim), in their order.

    Of the inputs one is held at a time, where their sequence reads them when asked for.
    """
    vectors = np.empty((len(inputs), encoder.dim), np.float32)
    for start in range(0, len(inputs), CHUNK):
        items = [encoder.preprocess(raw) for raw in inputs[start : start + CHUNK]]
        for rows in batches(items, encoder.max_batch_size):
            vectors[[start + row for row in rows]] = encoder.forward([items[row] for row in rows])
    return vectors


def batches(items: Sequence[Item], max_batch_size: float) -> Iterator[list[int]]:
    """Batches of like sizes, as indices of the items; items times the largest stay in bounds."""
    batch: list[int] = []
    for row in sorted(range(len(items)), key=lambda row: items[row].size):
        if batch and (len(batch) + 1) * items[row].size > max_batch_size:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
