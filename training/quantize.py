"""An encoder in int8 for the openvino engine.

    python -m training.quantize MANIFEST MODEL MODALITY

Post-training quantisation by NNCF: what inputs of the manifest's split train do to each layer
decides how its numbers are rounded. The file lies beside the artifact and is no part of it, so the
artifact's version stays. What it costs and saves is printed: the head's score on dev from this
modality alone, and the time of an input, for each dtype that the engine has; and where it is so far
off the golden examples that no node serves it.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from sklearn.metrics import f1_score

from mesh.artifact import Artifact
from mesh.calibration import seconds_per_item
from mesh.embedding import Modality
from mesh.encoding import Encoder
from mesh.engine import Engine, EngineUnsuitable, Inputs, Kind, MakeNetwork, builders
from mesh.golden import GoldenMismatch, check_batches, check_encoder
from mesh.openvino_model import convert, openvino, quantized_file, save
from mesh.settings import InputLimits, NodeSettings, load
from training.embed import ENCODERS, embed
from training.errors import TrainingError
from training.manifest import Row
from training.splits import read_with_splits
from training.trained import Model, load_model, raw_inputs

# Inputs that the rounding is found from, spread over the split.
INPUTS: Final = 300
# What NNCF keeps exact in these is more than in convolutions.
TRANSFORMERS: Final = ("bert", "gpt", "vit", "whisper")
DTYPES: Final = ("float32", "bfloat16", "int8_dynamic", "int8")


@dataclass(frozen=True)
class Score:
    """A dtype's macro-F1 and accuracy on dev, and the milliseconds of an input in a batch.

    `refused` says why no node serves it, and is empty where nodes do.
    """

    dtype: str
    macro_f1: float
    accuracy: float
    milliseconds: float
    refused: str

    def __str__(self) -> str:
        scores = f"macro-F1 {self.macro_f1:.4f}, accuracy {self.accuracy:.4f}"
        told = f"{self.dtype}: {scores}, {self.milliseconds:.2f} ms an input"
        return f"{told}; no node serves it: {self.refused}" if self.refused else told


def quantize(artifact: Artifact, rows: Sequence[Row]) -> Path:
    """Write the int8 form of an encoder's artifact; its file.

    Raises TrainingError without rows, EngineUnsuitable where OpenVINO can't convert the network.
    """
    modality = Modality(artifact.config["modality"])
    having = [row for row in rows if modality in row.inputs]
    chosen = having[:: -(-len(having) // INPUTS) or 1]
    if not chosen:
        raise TrainingError(f"no row of split train has {modality}")
    encoder, model = _converted(artifact)
    raws = raw_inputs(chosen, range(len(chosen)), modality)
    model = _rounded(model, [_arrays(encoder, raw) for raw in raws], artifact)
    model.set_rt_info(artifact.version, "artifact")
    file = quantized_file(artifact.path)
    file.parent.mkdir(exist_ok=True)
    save(model, file)
    return file


def _converted(artifact: Artifact) -> tuple[Encoder[Any], Any]:
    """An encoder whose `forward` gives its network's inputs, and the network as OpenVINO's."""
    models = []

    def build(make: MakeNetwork, example: Inputs) -> Engine:
        network = make()
        models.append(convert(network, example))
        return Engine(cast(Any, lambda inputs: inputs), cast(int, network.dim))

    with artifact.blamed():
        encoder = ENCODERS[Modality(artifact.config["modality"])](artifact, build, InputLimits())
    return encoder, models[0]


def _arrays(encoder: Encoder[Any], raw: Any) -> dict[str, Any]:
    inputs = cast(Any, encoder.forward([encoder.preprocess(raw)]))
    return {name: np.asarray(value) for name, value in inputs.items()}


def _rounded(model: Any, inputs: Sequence[dict[str, Any]], artifact: Artifact) -> Any:
    openvino()  # Before nncf, whose companion would tell its makers of every run.
    import nncf

    nncf.set_log_level(logging.ERROR)
    is_transformer = artifact.config["architecture"] in TRANSFORMERS
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
    )


def scores(model: Model, artifact: Artifact, rows: Sequence[Row]) -> list[Score]:
    """What each dtype makes of the rows that have the artifact's modality; without what is not had.

    Times are of MESH_THREADS threads.
    """
    modality = Modality(artifact.config["modality"])
    chosen = [row for row in rows if modality in row.inputs]
    if not chosen:
        raise TrainingError(f"no row of split dev has {modality}")
    found = []
    for kind in (Kind("openvino", dtype) for dtype in DTYPES):
        try:
            encoder = _served(artifact, kind)
        except EngineUnsuitable as error:
            print(f"{kind.dtype}: {error}")
        else:
            refused = _refused(encoder, artifact, kind)
            found.append(_score(kind, encoder, model, chosen, refused))
    return found


def _served(artifact: Artifact, kind: Kind) -> Encoder[Any]:
    settings = load(NodeSettings).model_copy(update={"devices": "cpu"})
    (build,) = builders(kind, settings, artifact)
    modality = Modality(artifact.config["modality"])
    return cast(Encoder[Any], ENCODERS[modality](artifact, build, InputLimits()))


def _refused(encoder: Encoder[Any], artifact: Artifact, kind: Kind) -> str:
    try:
        check_encoder(encoder, artifact, kind.tolerance)
        check_batches(encoder, artifact, kind.tolerance)
    except GoldenMismatch as error:
        return str(error)
    return ""


def _score(
    kind: Kind, encoder: Encoder[Any], model: Model, rows: Sequence[Row], refused: str
) -> Score:
    vectors = embed(encoder, raw_inputs(rows, range(len(rows)), encoder.modality))
    chances = model.classifier.classify([{encoder.modality: vector} for vector in vectors])
    right = np.array([model.classifier.labels.index(row.label) for row in rows])
    found = chances.argmax(1)
    return Score(
        kind.dtype,
        float(f1_score(right, found, average="macro", zero_division=0)),
        float((right == found).mean()),
        1e3 * seconds_per_item(encoder, time.perf_counter),
        refused,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Quantize, and print each dtype's score and time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("modality", type=Modality, choices=list(Modality))
    given = parser.parse_args(arguments)
    model, artifact = load_model(given.model), Artifact.open(given.model / given.modality)
    manifest = read_with_splits(given.manifest, model.seed)
    print(quantize(artifact, manifest.split("train").rows))
    for score in scores(model, artifact, manifest.split("dev").rows):
        print(score)


if __name__ == "__main__":
    main()
