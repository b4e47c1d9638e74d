"""Run a node of the vision encoder: `python -m services.vision_encoder`."""

from mesh.command import run_encoder
from services.vision_encoder.encoder import VisionEncoder

if __name__ == "__main__":
    run_encoder("services.vision_encoder", "image", VisionEncoder.load)
