"""A node process over a fake model: `python -m tests.fake_node KIND`, with MESH_* settings.

encoder     serves a FakeEncoder that needs no artifact, and starts without torch, soon
artifact    serves the encoder of the artifact in `text` of MESH_MODEL, checked as real ones are
fusion      the same for the heads in `fusion` of each of MESH_MODEL
"""

import sys
from functools import partial

from mesh.node import Load, serve
from mesh.settings import NodeSettings, load
from tests.fake_models import FakeEncoder
from tests.running_node import encoder_load


def loader(kind: str) -> Load:
    """How a kind of node loads."""
    if kind == "encoder":
        return encoder_load(FakeEncoder())
    from mesh.loading import load_encoder, load_fusion  # These import torch.
    from tests import fake_artifacts

    if kind == "artifact":
        return partial(load_encoder, folder="text", load=fake_artifacts.load_encoder)
    return partial(load_fusion, load=fake_artifacts.load_classifier)


if __name__ == "__main__":
    serve(f"fake-{sys.argv[1]}", load(NodeSettings), loader(sys.argv[1]))
