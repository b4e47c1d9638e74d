"""A small fusion head of two modalities, and what it is trained and tried on."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch

from mesh.embedding import Modality
from services.fusion.frame import Fusion
from tests.training_parts import column
from training.config import FusionConfig
from training.head import new_head
from training.joining import Column
from training.pool import Examples, tried

TEXT, IMAGE, _ = Modality
LABELS: Final = ("glad", "sad")
SMALL: Final = {"width": 8, "hidden": 8, "input_dropout": 0.0, "dropout": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    """Pinned."""
    return np.random.default_rng(seed)


def recipe(**settings: Any) -> FusionConfig:
    """A small head, trained quickly."""
    small = {"model": SMALL, "steps": 40, "batch_size": 64, "learning_rate": 2e-2}
    return FusionConfig.model_validate({**small, **settings})


def columns(seed: int = 0, count: int = 80, distance: float = 3.0) -> Mapping[Modality, Column]:
    """Rows of two modalities, of other scales; each tells the class but for some noise."""
    labels = np.arange(count) % 2
    noise = rng(seed).normal(size=(2, count, 3))
    centres = np.stack([labels, -labels, 0 * labels], axis=1)
    scales = ((TEXT, 10.0), (IMAGE, 0.1))
    return {
        m: column(labels.tolist(), vectors=s * (distance * centres + n))
        for (m, s), n in zip(scales, noise, strict=True)
    }


def dev(distance: float = 3.0) -> Mapping[tuple[Modality, ...], Examples]:
    """Further rows of the kind, in every subset."""
    return tried(columns(1, distance=distance), LABELS, "row", 10)


def head_of(**settings: Any) -> Fusion:
    """An untrained head over the columns, in eval mode."""
    torch.manual_seed(0)
    return new_head(recipe(**settings), columns(), 2).eval()


def some(count: int = 6) -> Examples:
    """Examples that have the first modality, the second, or both, in turn."""
    both = tried(columns(), LABELS, "row", 10)[TEXT, IMAGE]
    present = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).repeat(count // 3, 1)
    return Examples(both.embeddings[:count], present, both.classes[:count])
