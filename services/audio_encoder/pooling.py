"""From a vector for each step of a sound to one for the sound. Padding is no step."""

from typing import Final

import torch
from torch import nn

# Keeps the deviation's slope finite for sounds of a single frame.
LEAST_VARIANCE: Final = 1e-8


def until(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """(items,) -> bool (items, longest): which places lie within each item's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def statistics(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(items, steps, width) -> float32 (items, 2 x width): mean and deviation over the steps.

    `weights` (items, steps) say how much each step counts; padding must not: False, or 0.
    """
    weights = weights[:, :, None].float()
    count = weights.sum(1)
    hidden = hidden.float()
    mean = (hidden * weights).sum(1) / count
    variance = ((hidden - mean[:, None]).square() * weights).sum(1) / count
    return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=-1)


class Attention(nn.Module):
    """Learns how much each step counts in `statistics` (Okabe et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
        )

    def forward(self, hidden: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        """(items, steps, width) and bool (items, steps) -> (items, steps), of sum 1."""
        scores: torch.Tensor = self.score(hidden).squeeze(-1).float()
        return scores.masked_fill(~is_real, -torch.inf).softmax(dim=-1)
