"""The networks that turn pixels into an embedding, by the name that an artifact gives."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from services.vision_encoder.efficientnet import EfficientNetLite0, read_efficientnet_lite
from services.vision_encoder.network import Network


class Architecture(NamedTuple):
    """How to build one kind of network from the config's `model`, and to read its base weights."""

    build: Callable[[Mapping[str, Any]], Network]
    read: Callable[[Path], dict[str, torch.Tensor]]


# Only those who have a ViT, or a CNN of torchvision's, import its module: transformers takes a node
# three seconds of a core, torchvision nearly as much.
def _build_vit(model: Mapping[str, Any]) -> Network:
    from services.vision_encoder.vit import PooledViT, ViTShape

    return PooledViT(ViTShape(**model))


def _read_vit(file: Path) -> dict[str, torch.Tensor]:
    from services.vision_encoder.vit import read_vit

    return read_vit(file)


def _build_cnn(model: Mapping[str, Any]) -> Network:
    from services.vision_encoder.cnn import TorchvisionCNN

    return TorchvisionCNN(**model)


def _read_cnn(file: Path) -> dict[str, torch.Tensor]:
    from services.vision_encoder.cnn import read_cnn

    return read_cnn(file)


ARCHITECTURES: Final = {
    "efficientnet_lite0": Architecture(
        lambda model: EfficientNetLite0(**model), read_efficientnet_lite
    ),
    "cnn": Architecture(_build_cnn, _read_cnn),
    "vit": Architecture(_build_vit, _read_vit),
}
