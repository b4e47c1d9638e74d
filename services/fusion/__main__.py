"""Run a node of fusion: `python -m services.fusion`."""

from mesh.command import run_fusion
from services.fusion.classifier import FusionClassifier

if __name__ == "__main__":
    run_fusion("services.fusion", FusionClassifier.load)
