"""A node process over a fake model: `python -m tests.fake_node encoder` or `... fusion`.

Everything but the model is what the real nodes run. It reads MESH_* as they do.
"""

import sys
from functools import partial

from mesh.loading import load_encoder, load_fusion
from mesh.node import serve
from mesh.settings import NodeSettings, load
from tests import fake_artifacts

LOADERS = {
    "encoder": partial(load_encoder, folder="text", load=fake_artifacts.load_encoder),
    "fusion": partial(load_fusion, load=fake_artifacts.load_classifier),
}

if __name__ == "__main__":
    serve(f"fake-{sys.argv[1]}", load(NodeSettings), LOADERS[sys.argv[1]])
