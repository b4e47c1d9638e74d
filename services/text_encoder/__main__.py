"""Run a node of the text encoder: `python -m services.text_encoder`."""

from mesh.command import run_encoder
from services.text_encoder.encoder import TextEncoder

if __name__ == "__main__":
    run_encoder("services.text_encoder", "text", TextEncoder.load)
