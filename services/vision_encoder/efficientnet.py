"""EfficientNet-Lite0 (Liu 2020): EfficientNet-B0 without what is slow on small devices."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import safetensors.torch
import torch
from torch import nn

from services.vision_encoder.network import Network

STEM: Final = 32
HEAD: Final = 1280


class Stage(NamedTuple):
    """Blocks of one resolution: the first has the stride, the others keep what it gives."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


# Tan and Le 2019, table 1 (B0), whose width and depth Lite0 shares.
STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class ConvNorm(nn.Sequential):
    """A convolution padded as TensorFlow's "SAME" does, then batch norm."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = (kernel - stride) // 2
        if (kernel - stride) % 2:  # then one more on the right and below
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow again (Sandler et al. 2018)."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expand
        self.layers = nn.Sequential()
        if stage.expand > 1:
            self.layers.add_module("expand", ConvNorm(inputs, wide))
            self.layers.add_module("relu_expand", nn.ReLU6())
        self.layers.add_module("depthwise", ConvNorm(wide, wide, stage.kernel, stride, wide))
        self.layers.add_module("relu_depthwise", nn.ReLU6())
        self.layers.add_module("project", ConvNorm(wide, stage.channels))
        self.is_residual = stride == 1 and inputs == stage.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(items, inputs, height, width) -> (items, channels, height / stride, width / stride)."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.is_residual else y


def _blocks() -> Iterator[InvertedResidual]:
    channels = STEM
    for stage in STAGES:
        for repeat in range(stage.repeats):
            yield InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1)
            channels = stage.channels


class EfficientNetLite0(Network):
    """EfficientNet-Lite0 without its classifier: the mean over the last feature map."""

    dim = HEAD

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, kernel=3, stride=2)
        self.blocks = nn.Sequential(*_blocks())
        self.head = ConvNorm(STAGES[-1].channels, HEAD)
        self.relu = nn.ReLU6()
        # Channels last in memory are twice as fast on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(items, 3, side, side) -> float32 (items, 1280)."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        x: torch.Tensor = self.relu(self.stem(pixels))
        x = self.relu(self.head(self.blocks(x)))
        return x.float().mean((2, 3))


# The published names of the layers, and ours.
_RENAMED: Final = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.norm."),
    (r"^_conv_head\.", "head.conv."),
    (r"^_bn1\.", "head.norm."),
    (r"^_blocks\.(\d+)\._(expand|depthwise|project)_conv\.", r"blocks.\1.layers.\2.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.layers.expand.norm."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.layers.depthwise.norm."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.layers.project.norm."),
)


def read_efficientnet_lite(file: Path) -> dict[str, torch.Tensor]:
    """An EfficientNet-Lite's weights: of a .safetensors under our names, or of a published .pth.

    Of a .pth only tensors are unpickled, and `_fc`, which gives the classes, is left out.
    """
    if file.suffix == ".safetensors":
        return safetensors.torch.load_file(file)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    return {_rename(name): w for name, w in weights.items() if not name.startswith("_fc.")}


def _rename(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name
