"""Fusion by concatenation."""

import torch
from torch import nn

from services.fusion.frame import Fusion, FusionShape, perceptron


class ConcatFusion(Fusion):
    """Put the projections side by side, and classify with an MLP.

    Where a modality is missing, a learned vector stands for its projection, and the mask of what
    is present is an input of its own.
    """

    def __init__(self, shape: FusionShape) -> None:
        super().__init__(shape)
        modalities = len(shape.dims)
        self.missing = nn.Parameter(torch.zeros(modalities, shape.width))
        self.classify = perceptron(modalities * (shape.width + 1), shape)

    def combined(self, projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """As Fusion."""
        filled = torch.where(present.bool()[:, :, None], projected, self.missing)
        logits: torch.Tensor = self.classify(torch.cat([filled.flatten(1), present], dim=1))
        return logits
