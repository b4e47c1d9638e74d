"""The networks that turn embeddings into a class, by the name that an artifact's config gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class FusionShape:
    """The shape of a fusion head.

    `dims` are the embeddings' dimensions in the modalities' order, `width` what each is projected
    to, `hidden` the layer over all of them. `input_dropout` (one for each modality) and `dropout`
    (over the two inner layers) are probabilities, and only training feels them.
    """

    dims: Sequence[int]
    classes: int
    width: int
    hidden: int
    input_dropout: Sequence[float]
    dropout: float


class ConcatFusion(nn.Module):
    """Standardise and project each embedding, put them side by side, and classify with an MLP.

    Where a modality is missing, a learned vector stands for its projection, and the mask of what
    is present is an input of its own. Probabilities are softened by one temperature for each
    subset of modalities (Guo et al. 2017): fewer of them earn less confidence.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    temperature: torch.Tensor
    place: torch.Tensor

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        self.dims = list(shape.dims)
        modalities = len(self.dims)
        self.register_buffer("mean", torch.zeros(sum(self.dims)))
        self.register_buffer("deviation", torch.ones(sum(self.dims)))
        self.register_buffer("temperature", torch.ones(2**modalities))
        self.register_buffer("place", 2 ** torch.arange(modalities), persistent=False)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Dropout(drop), nn.Linear(dim, shape.width), nn.GELU())
            for dim, drop in zip(self.dims, shape.input_dropout, strict=True)
        )
        self.missing = nn.Parameter(torch.zeros(modalities, shape.width))
        self.classify = nn.Sequential(
            nn.Dropout(shape.dropout),
            nn.Linear(modalities * (shape.width + 1), shape.hidden),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(shape.hidden, shape.classes),
        )

    def forward(self, embeddings: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(items, sum of dims) and mask (items, modalities) -> probabilities (items, classes).

        The embeddings lie side by side in the order of `dims`. What stands in a missing one's place
        has no influence, as long as it is finite.
        """
        logits = self.logits(embeddings, present).float()
        return torch.softmax(logits / self.temperature[self.subset_of(present), None], dim=-1)

    def subset_of(self, present: torch.Tensor) -> torch.Tensor:
        """Masks (items, modalities) -> the subset's place among the temperatures (items,)."""
        return (present.long() * self.place).sum(1)

    def logits(self, embeddings: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """What `forward` computes before temperature and softmax; training's loss takes these."""
        standard = torch.split((embeddings - self.mean) / self.deviation, self.dims, dim=1)
        projected = torch.stack(
            [project(part) for project, part in zip(self.project, standard, strict=True)], dim=1
        )
        filled = torch.where(present.bool()[:, :, None], projected, self.missing)
        logits: torch.Tensor = self.classify(torch.cat([filled.flatten(1), present], dim=1))
        return logits


FUSIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], nn.Module]]] = {
    "concat": lambda model: ConcatFusion(FusionShape(**model)),
}
