"""The Vision Transformer (Dosovitskiy et al. 2021): a picture as a row of patches.

Only who builds one imports this module: transformers takes a node three seconds of a core.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import safetensors.torch
import torch
from transformers import ViTConfig, ViTModel

from services.vision_encoder.network import Network


@dataclass(frozen=True, slots=True)
class ViTShape:
    """The shape of a ViT, under the names of its published config.json, and how it is pooled.

    `pooled` is what becomes the embedding: "cls", the token that stands for the whole picture, or
    the "mean" over its patches. `dropout` acts in training only, on attention too.
    """

    image_size: int = 224
    patch_size: int = 16
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12
    pooled: Literal["cls", "mean"] = "cls"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.pooled not in ("cls", "mean"):
            raise ValueError(f"pooled is {self.pooled!r}, neither 'cls' nor 'mean'")


class PooledViT(Network):
    """transformers' ViT, one of its tokens or their mean; takes pictures of one size only."""

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.dim = shape.hidden_size
        self.size = shape.image_size
        self.pooled = shape.pooled
        settings = asdict(shape)
        dropout = settings.pop("dropout")
        del settings["pooled"]
        config = ViTConfig(
            **settings, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
        )
        self.vit = ViTModel(config, add_pooling_layer=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(items, 3, image_size, image_size) -> float32 (items, hidden_size)."""
        tokens: torch.Tensor = self.vit(pixels).last_hidden_state.float()
        return tokens[:, 0] if self.pooled == "cls" else tokens[:, 1:].mean(1)


# The published names of the layers, and those that transformers has for them today.
_RENAMED: Final = (
    (r"^vit\.", ""),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attention.\1_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def read_vit(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a published ViT's safetensors, under PooledViT's names.

    The classifier and the pooler, which only the classifier reads, are left out.
    """
    weights = {_rename(name): w for name, w in safetensors.torch.load_file(file).items()}
    return {
        f"vit.{name}": weight
        for name, weight in weights.items()
        if not name.startswith(("classifier.", "pooler."))
    }


def _rename(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name
