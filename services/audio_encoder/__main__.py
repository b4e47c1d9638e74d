"""Run a node of the audio encoder: `python -m services.audio_encoder`."""

from mesh.command import run_encoder
from services.audio_encoder.encoder import AudioEncoder

if __name__ == "__main__":
    run_encoder("services.audio_encoder", "audio", AudioEncoder.load)
