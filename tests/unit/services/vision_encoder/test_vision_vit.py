"""The Vision Transformer."""

from pathlib import Path
from typing import Any, Final

import pytest
import safetensors.torch
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from services.vision_encoder.vit import PooledViT, ViTShape, read_vit
from tests.encoder_artifacts import seeded

SHAPE: Final[dict[str, Any]] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "layer_norm_eps": 1e-6,
}


def published(head: bool) -> Any:
    """transformers' own ViT, with its classifier or with its pooler."""
    return seeded((ViTForImageClassification if head else ViTModel)(ViTConfig(**SHAPE)))


def noise() -> torch.Tensor:
    """Two pictures."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def write(network: Any, folder: Path, how: str) -> Path:
    """A file of its weights: as transformers publishes them, or under its names of today."""
    file = folder / "model.safetensors"
    if how == "published":
        network.save_pretrained(folder)
    else:
        safetensors.torch.save_file(network.state_dict(), file)
    return file


@pytest.mark.parametrize("how", ["published", "today"])
@pytest.mark.parametrize("head", [True, False], ids=["classifier", "pooler"])
@pytest.mark.parametrize("pooled", ["cls", "mean"])
def test_a_published_file_gives_transformers_numbers(
    pooled: str, head: bool, how: str, tmp_path: Path
) -> None:
    """It fits strictly, under its published names and those that transformers has now."""
    theirs = published(head)
    ours = PooledViT(ViTShape(**SHAPE, pooled=pooled)).eval()
    ours.load_state_dict(read_vit(write(theirs, tmp_path, how)), strict=True)
    with torch.inference_mode():
        tokens = theirs(noise(), output_hidden_states=True).hidden_states[-1]
        tokens = (theirs.vit if head else theirs).layernorm(tokens)
        found = ours(noise())

    expected = tokens[:, 0] if pooled == "cls" else tokens[:, 1:].mean(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_dropout_acts_in_training_alone() -> None:
    """Two runs differ then, and are the same when it serves."""
    network = seeded(PooledViT(ViTShape(**SHAPE, dropout=0.5)))
    torch.manual_seed(0)

    assert torch.equal(network(noise()), network(noise()))
    network.train()
    assert not torch.equal(network(noise()), network(noise()))


def test_another_pooling_is_named() -> None:
    """There are two."""
    with pytest.raises(ValueError, match="'max', neither 'cls' nor 'mean'"):
        ViTShape(**SHAPE, pooled="max")
