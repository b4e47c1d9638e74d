"""Fusion by the mean."""

import torch

from services.fusion.frame import Fusion, FusionShape, only_present, perceptron


class MeanFusion(Fusion):
    """Take the mean of the projections that are present, and classify it with an MLP.

    It has the fewest weights; which modalities are there is no input of its own.
    """

    def __init__(self, shape: FusionShape) -> None:
        super().__init__(shape)
        self.classify = perceptron(shape.width, shape)

    def combined(self, projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """As Fusion."""
        total = only_present(projected, present).sum(1)
        logits: torch.Tensor = self.classify(total / present.sum(1, keepdim=True))
        return logits
