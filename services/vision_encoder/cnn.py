"""Any convolutional network of torchvision, by its name there and without its last layer."""

import re
from inspect import signature
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import nn
from torchvision import models

from services.vision_encoder.network import Network

# Where torchvision's CNNs hold their classifier; its last linear layer gives the classes.
CLASSIFIERS: Final = ("fc.", "classifier.")

# Two networks have further classifiers inside, which serve their own training only.
AUXILIARY: Final = ("aux1.", "aux2.", "AuxLogits.")
WITHOUT_AUXILIARY: Final = {"aux_logits": False, "init_weights": False}
OPTIONS: Final = {"googlenet": WITHOUT_AUXILIARY, "inception_v3": WITHOUT_AUXILIARY}

# They load only with a version of their weights' layout, which no safetensors file holds.
UNUSABLE: Final = "mnasnet"


class TorchvisionCNN(Network):
    """A CNN of torchvision up to what its last layer classifies.

    `options` are those of torchvision's own class, such as `dropout` or `stochastic_depth_prob`
    where it has them. Raises ValueError for a network that can't be used, TypeError for an option
    that it doesn't have.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__()
        if name not in models.list_models(module=models) or name.startswith(UNUSABLE):
            raise ValueError(f"torchvision has no classification network {name!r} of use here")
        options = {**OPTIONS.get(name, {}), **options}
        self.cnn: nn.Module = models.get_model(name, weights=None, **options)
        # Some of torchvision's classes take any option and ignore those that they don't have.
        if unknown := options.keys() - signature(type(self.cnn)).parameters.keys():
            raise TypeError(f"{name!r} has no option {', '.join(sorted(unknown))}")
        self.dim = _take_off_last_layer(self.cnn, name)
        # Channels last in memory are faster on a CPU, a ResNet by a sixth.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(items, 3, side, side) -> float32 (items, dim)."""
        features: torch.Tensor = self.cnn(pixels.contiguous(memory_format=torch.channels_last))
        return features.float()


def _take_off_last_layer(cnn: nn.Module, name: str) -> int:
    """Let the features through where the classes were computed; how many features there are."""
    linear = {
        place: layer
        for place, layer in cnn.named_modules()
        if isinstance(layer, nn.Linear) and f"{place}.".startswith(CLASSIFIERS)
    }
    if not linear:
        raise ValueError(f"{name!r} has no linear layer in `fc` or `classifier` to take off")
    last = max(linear)
    cnn.set_submodule(last, nn.Identity())
    return linear[last].in_features


def read_cnn(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a torchvision state dict, under TorchvisionCNN's names.

    The file is .safetensors, or else a .pth, of which only tensors are unpickled. The layer that
    gives the classes is left out.
    """
    weights = _load(file)
    places = (name.rpartition(".")[0] for name in weights if name.startswith(CLASSIFIERS))
    last = max(places, default="fc")
    unused = (f"{last}.", *AUXILIARY)
    return {
        f"cnn.{_rename(name)}": weight
        for name, weight in weights.items()
        if not name.startswith(unused)
    }


def _load(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        return safetensors.torch.load_file(file)
    weights: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def _rename(name: str) -> str:
    """A DenseNet's published files still have a dot which names of layers may no longer have."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)
