"""EfficientNet-Lite0."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from services.vision_encoder.efficientnet import (
    ConvNorm,
    EfficientNetLite0,
    read_efficientnet_lite,
)
from tests.encoder_artifacts import published_efficientnet, seeded


@pytest.mark.parametrize("side", [32, 96])
def test_a_picture_of_any_size_becomes_1280_numbers(side: int) -> None:
    """The embedding is the mean of the last feature map, however large it is."""
    with torch.inference_mode():
        vectors = seeded(EfficientNetLite0())(torch.zeros(2, 3, side, side))

    assert vectors.shape == (2, EfficientNetLite0.dim)
    assert vectors.dtype == torch.float32


def test_its_size_is_the_published_one() -> None:
    """4.65 million parameters less the classifier's 1,281,000 (EfficientNet-Lite, table)."""
    assert sum(weight.numel() for weight in EfficientNetLite0().parameters()) == 3_371_008


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_that_of_tensorflow(kernel: int, stride: int) -> None:
    """With a stride the odd pixel of padding is on the right and below."""
    layer = ConvNorm(1, 1, kernel, stride).eval()
    nn.init.ones_(layer.conv.weight)
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, 0, 0] = 1  # What sees it tells how far the padding reaches on the left.
    before = (kernel - stride) // 2
    with torch.inference_mode():
        seen = layer(picture)[0, 0] > 0.5

    assert seen.shape == (8 // stride, 8 // stride)
    assert seen.sum() == (before // stride + 1) ** 2


def test_a_published_file_fits_strictly(tmp_path: Path) -> None:
    """Every name of the published file is ours, renamed, but the classifier's."""
    published = published_efficientnet(EfficientNetLite0().state_dict())
    torch.save(published, tmp_path / "lite0.pth")

    EfficientNetLite0().load_state_dict(read_efficientnet_lite(tmp_path / "lite0.pth"), strict=True)


def test_weights_that_training_wrote_can_be_trained_on(tmp_path: Path) -> None:
    """A .safetensors has our own names, as an artifact's has."""
    weights = seeded(EfficientNetLite0()).state_dict()
    kept = {name: weight.contiguous() for name, weight in weights.items()}
    save_file(kept, tmp_path / "model.safetensors")
    read = read_efficientnet_lite(tmp_path / "model.safetensors")
    assert read.keys() == weights.keys()
    assert torch.equal(read["stem.conv.weight"], weights["stem.conv.weight"])


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Only tensors are unpickled."""
    torch.save({"_conv_stem.weight": nn.Conv2d(3, 8, 1)}, tmp_path / "model.pth")

    with pytest.raises(Exception, match="Weights only"):
        read_efficientnet_lite(tmp_path / "model.pth")
