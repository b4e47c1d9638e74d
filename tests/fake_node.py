"""A node process over a fake model: `python -m tests.fake_node KIND`, with MESH_* settings.

encoder     serves a FakeEncoder that needs no artifact, and starts without torch, soon
stuck       the same, but for "stuck" preprocessing never ends, and for "stuck model" the model
artifact    serves the encoder of the artifact in `text` of MESH_MODEL, checked as real ones are
fusion      the same for the heads in `fusion` of each of MESH_MODEL
"""

import sys
import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import structlog

from mesh.encoding import Raw
from mesh.node import Load, serve
from mesh.settings import NodeSettings, load
from tests.fake_models import FakeEncoder, FakeItem
from tests.running_node import encoder_load


class StuckEncoder(FakeEncoder):
    """Never done with some inputs."""

    def preprocess(self, raw: Raw) -> FakeItem:
        """Wait for ever over "stuck"."""
        if raw == "stuck":
            _wait_for_ever()
        return super().preprocess(raw)

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """Wait for ever over "stuck model"."""
        if any(item.content == "stuck model" for item in items):
            _wait_for_ever()
        return super().forward(items)


def _wait_for_ever() -> None:
    structlog.stdlib.get_logger().info("stuck")
    threading.Event().wait()


def loader(kind: str) -> Load:
    """How a kind of node loads."""
    if kind in ("encoder", "stuck"):
        return encoder_load(FakeEncoder() if kind == "encoder" else StuckEncoder())
    from mesh.loading import load_encoder, load_fusion  # These import torch.
    from tests import fake_artifacts

    if kind == "artifact":
        return partial(load_encoder, folder="text", load=fake_artifacts.load_encoder)
    return partial(load_fusion, load=fake_artifacts.load_classifier)


if __name__ == "__main__":
    serve(f"fake-{sys.argv[1]}", load(NodeSettings), loader(sys.argv[1]))
