"""Run a node of the audio encoder: `python -m services.audio_encoder`."""

from functools import partial

from mesh.loading import load_encoder
from mesh.node import serve
from mesh.settings import NodeSettings, load
from services.audio_encoder.encoder import AudioEncoder

if __name__ == "__main__":
    serve(
        "audio-encoder",
        load(NodeSettings),
        partial(load_encoder, folder="audio", load=AudioEncoder.load),
    )
