"""From a vector for each token to one for the text. Padding is no token."""

from typing import Final

import torch

from services.text_encoder.choices import Choices


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(items, tokens, width) and mask (items, tokens) -> float32 (items, width)."""
    weights = mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(1) / weights.sum(1)


def greatest(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The largest of each number; shapes as in `mean`."""
    return hidden.float().masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1)


def last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last token's vector; shapes as in `mean`."""
    items = torch.arange(hidden.shape[0], device=hidden.device)
    return hidden[items, mask.sum(1) - 1].float()


POOLINGS: Final = Choices("pooling", mean=mean, max=greatest, last=last)
