"""Heads that only training has."""

import torch
from torch import nn

from services.fusion.frame import FusionShape


class AuxiliaryHeads(nn.Module):
    """One linear classifier on each modality's projection.

    Their losses keep a weak modality's projection learning where a strong one alone would do. They
    are no part of a Fusion, so no artifact holds them.
    """

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(shape.width, shape.classes) for _ in shape.dims)

    def forward(self, projected: torch.Tensor) -> torch.Tensor:
        """What `Fusion.projected` gives -> logits (items, modalities, classes)."""
        parts = zip(self.heads, projected.unbind(1), strict=True)
        return torch.stack([head(part) for head, part in parts], dim=1)
