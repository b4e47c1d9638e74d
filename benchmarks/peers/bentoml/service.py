"""A BentoML service, with a model: `bentoml serve service:Classifier`."""

from pathlib import Path

import bentoml

from benchmarks.model import Model
from benchmarks.setup import Setup


@bentoml.service
class Classifier:
    """One worker, as by default."""

    def __init__(self) -> None:
        self.model = Model.load(Setup())

    @bentoml.api
    def predict(self, text: str, image: Path, audio: Path) -> str:
        """The class of one form; BentoML keeps its files on disk."""
        inputs = {"text": text, "image": image.read_bytes(), "audio": audio.read_bytes()}
        return self.model.predict([inputs])[0]
