"""A small network for the openvino engine, and what that needs besides."""

from pathlib import Path

import torch

from mesh.artifact import Artifact
from mesh.engine import Engine
from mesh.engine_cache import EngineCache
from mesh.openvino_engine import Setup, Shape, openvino_engine
from tests import fake_artifacts

ONE = Shape(workers=1, threads=1)
INPUTS = {"x": torch.linspace(-1, 1, 24).reshape(1, 3, 8), "lengths": torch.tensor([3])}


class Pooled(torch.nn.Module):
    """A linear layer and the mean over each item's own steps."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(items, steps, 8) and each one's steps -> (items, 4)."""
        is_real = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, :, None].float()
        hidden: torch.Tensor = self.dropout(self.linear(x)) * is_real
        return hidden.sum(1) / is_real.sum(1)


def openvino_setup(folder: Path, workers: int = 1) -> Setup:
    """So many workers, each on one thread of float32, with a cache."""
    artifact = Artifact.open(fake_artifacts.write_encoder(folder / "model" / "text"))
    shape = Shape(workers, threads=1)
    return Setup("float32", shape, artifact, EngineCache(folder / "cache"))


def engine(network: torch.nn.Module, setup: Setup) -> Engine:
    """The network at work."""
    return openvino_engine(lambda: network, INPUTS, setup=setup)
