"""Run a node of fusion: `python -m services.fusion`."""

from functools import partial

from mesh.loading import load_fusion
from mesh.node import serve
from mesh.runtime import SHORT_SLICE
from mesh.settings import NodeSettings, load
from services.fusion.classifier import FusionClassifier

if __name__ == "__main__":
    serve(
        "fusion",
        load(NodeSettings),
        partial(load_fusion, load=FusionClassifier.load),
        SHORT_SLICE,  # It does little, and all that is left of a request waits for it.
    )
