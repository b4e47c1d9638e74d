"""Fusion by gates."""

import torch
from torch import nn

from services.fusion.frame import Fusion, FusionShape, only_present, perceptron


class GatedFusion(Fusion):
    """Let the modalities decide together how much of each one counts, unit by unit.

    A gated multimodal unit (Arevalo et al. 2017): every unit of a projection has a gate between 0
    and 1, computed from all projections that are present and their mask. An MLP classifies the
    gated sum.
    """

    def __init__(self, shape: FusionShape) -> None:
        super().__init__(shape)
        modalities = len(shape.dims)
        self.gate = nn.Linear(modalities * (shape.width + 1), modalities * shape.width)
        self.classify = perceptron(shape.width, shape)

    def combined(self, projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """As Fusion."""
        kept = only_present(projected, present)
        gates = torch.sigmoid(self.gate(torch.cat([kept.flatten(1), present], dim=1)))
        logits: torch.Tensor = self.classify((gates.view_as(kept) * kept).sum(1))
        return logits
