"""What every fusion strategy has: projections before it, probabilities behind it, and its shape."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class FusionShape:
    """The shape of a fusion head.

    `dims` are the embeddings' dimensions in the modalities' order, `width` what each is projected
    to, `hidden` the layer over all of them. `input_dropout` (one for each modality, or one for all)
    and `dropout` (over the inner layers) are probabilities, and only training feels them.
    """

    dims: Sequence[int]
    classes: int
    width: int = 64
    hidden: int = 64
    input_dropout: Sequence[float] | float = 0.1
    dropout: float = 0.3

    @classmethod
    def read(cls, model: Mapping[str, Any]) -> Self:
        """The shape that an artifact's or a training's config gives; ValueError for other keys."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(model.keys() - set(known)):
            raise ValueError(
                f"`model` has {', '.join(unknown)}, which is none of {', '.join(known)}"
            )
        return cls(**model)

    def input_dropouts(self) -> list[float]:
        """One for each modality; ValueError where some lack one."""
        given = self.input_dropout
        if isinstance(given, int | float):
            return [float(given)] * len(self.dims)
        if len(given) != len(self.dims):
            raise ValueError(f"input_dropout: {len(given)} for {len(self.dims)} modalities")
        return list(given)


class Fusion(nn.Module, ABC):
    """From embeddings to probabilities; a strategy says how projections become logits.

    Each embedding is standardised and projected to one width. Probabilities are softened by one
    temperature for each subset of modalities (Guo et al. 2017): fewer of them earn less confidence.
    Each subset's `log_prior` (classes,) then says how much more often a class is met with it than
    in training (Saerens et al. 2002).
    Embeddings are (items, sum of dims), side by side in the order of `dims`. Masks are 0 or 1 of
    shape (items, modalities), with at least one modality in each item. What stands in a missing
    one's place has no influence, as long as it is finite.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    temperature: torch.Tensor
    log_prior: torch.Tensor
    place: torch.Tensor

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        self.shape = shape
        self.dims = list(shape.dims)
        modalities = len(self.dims)
        self.register_buffer("mean", torch.zeros(sum(self.dims)))
        self.register_buffer("deviation", torch.ones(sum(self.dims)))
        self.register_buffer("temperature", torch.ones(2**modalities))
        self.register_buffer("log_prior", torch.zeros(2**modalities, shape.classes))
        self.register_buffer("place", 2 ** torch.arange(modalities), persistent=False)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Dropout(drop), nn.Linear(dim, shape.width), nn.GELU())
            for dim, drop in zip(self.dims, shape.input_dropouts(), strict=True)
        )

    def forward(self, embeddings: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Embeddings and mask -> probabilities (items, classes)."""
        return torch.softmax(self.calibrated(self.logits(embeddings, present), present), dim=-1)

    def calibrated(self, logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Logits and mask -> the logits of the probabilities, float32 (items, classes)."""
        subset = self.subset_of(present)
        return logits.float() / self.temperature[subset, None] + self.log_prior[subset]

    def subset_of(self, present: torch.Tensor) -> torch.Tensor:
        """Masks (items, modalities) -> the subset's place among the temperatures (items,)."""
        return (present.long() * self.place).sum(1)

    def logits(self, embeddings: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """What `forward` computes before calibration and softmax; training's loss takes these."""
        return self.combined(self.projected(embeddings), present)

    def projected(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings -> projections (items, modalities, width), also of what is missing."""
        standard = torch.split((embeddings - self.mean) / self.deviation, self.dims, dim=1)
        parts = [project(part) for project, part in zip(self.project, standard, strict=True)]
        return torch.stack(parts, dim=1)

    @abstractmethod
    def combined(self, projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Projections (items, modalities, width) and mask -> logits (items, classes)."""


def only_present(projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """(items, modalities, width) with zeros where the mask says that a modality is missing."""
    return torch.where(present.bool()[:, :, None], projected, 0.0)


def perceptron(inputs: int, shape: FusionShape) -> nn.Sequential:
    """From (items, inputs) to logits (items, classes), over one hidden layer."""
    return nn.Sequential(
        nn.Dropout(shape.dropout),
        nn.Linear(inputs, shape.hidden),
        nn.GELU(),
        nn.Dropout(shape.dropout),
        nn.Linear(shape.hidden, shape.classes),
    )
