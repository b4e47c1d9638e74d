"""An encoder's node over FakeEncoder, by the command that real ones have."""

from mesh.command import run_encoder
from tests.fake_artifacts import load_encoder

if __name__ == "__main__":
    run_encoder("tests.fake_command", "text", load_encoder)
