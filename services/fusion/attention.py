"""Fusion by attention."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from services.fusion.frame import Fusion, FusionShape, only_present

# The spread of what is learned about places, as BERT starts with.
SPREAD: Final = 0.02


@dataclass(frozen=True, slots=True)
class AttentionShape(FusionShape):
    """The shape of attention fusion: `hidden` is inside each of its Transformer layers."""

    heads: int = 4
    layers: int = 2


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value come from one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: {heads} can't share a width of {width} evenly")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """(items, tokens, width) and bool (items, 1, 1, tokens): what is seen -> as x."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attends)
        mixed: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return mixed


class Layer(nn.Module):
    """Attention, then two linear layers; each is normalised before, and added to its input."""

    def __init__(self, shape: AttentionShape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape.width, shape.heads)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, shape.hidden), nn.GELU(), nn.Linear(shape.hidden, shape.width)
        )
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """As Attention."""
        x = x + self.drop(self.attention(self.attention_norm(x), attends))
        y: torch.Tensor = x + self.drop(self.mlp(self.mlp_norm(x)))
        return y


class AttentionFusion(Fusion):
    """A small Transformer whose tokens are the modalities, and one more that is classified.

    Each projection is a token, told apart by a learned vector of its modality. A missing one is
    seen by no other. The class token reads the rest (Devlin et al. 2019).
    """

    def __init__(self, shape: AttentionShape) -> None:
        super().__init__(shape)
        self.modality = nn.Parameter(SPREAD * torch.randn(len(shape.dims), shape.width))
        self.class_token = nn.Parameter(SPREAD * torch.randn(shape.width))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.classify = nn.Sequential(
            nn.Dropout(shape.dropout), nn.Linear(shape.width, shape.classes)
        )

    def combined(self, projected: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """As Fusion."""
        tokens = only_present(projected + self.modality, present)
        x = torch.cat([self.class_token.expand(tokens.shape[0], 1, -1), tokens], dim=1)
        # The class token, which comes first, is always there.
        attends = nn.functional.pad(present.bool(), (1, 0), value=True)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, attends)
        logits: torch.Tensor = self.classify(self.norm(x[:, 0]))
        return logits
