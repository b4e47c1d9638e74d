"""Run a node of the text encoder: `python -m services.text_encoder`."""

from functools import partial

from mesh.loading import load_encoder
from mesh.node import serve
from mesh.settings import NodeSettings, load
from services.text_encoder.encoder import TextEncoder

if __name__ == "__main__":
    serve(
        "text-encoder",
        load(NodeSettings),
        partial(load_encoder, folder="text", load=TextEncoder.load),
    )
