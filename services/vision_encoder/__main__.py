"""Run a node of the vision encoder: `python -m services.vision_encoder`."""

from functools import partial

from mesh.loading import load_encoder
from mesh.node import serve
from mesh.settings import NodeSettings, load
from services.vision_encoder.encoder import VisionEncoder

if __name__ == "__main__":
    serve(
        "vision-encoder",
        load(NodeSettings),
        partial(load_encoder, folder="image", load=VisionEncoder.load),
    )
