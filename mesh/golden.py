"""Golden examples: what an artifact says that it computes, checked before a node serves it.

A golden input of an encoder is a raw input: a file, or text in UTF-8. One of fusion is a
safetensors file that holds a vector of shape (dim,) under each modality's name. The outputs are
one tensor of shape (inputs, dim) named "embeddings", or (inputs, classes) named "probabilities".
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from mesh.artifact import Artifact, ArtifactError
from mesh.classifying import Classifier, Example
from mesh.embedding import Modality
from mesh.encoding import Encoder, Raw

EMBEDDINGS: Final = "embeddings"
PROBABILITIES: Final = "probabilities"

Vectors = npt.NDArray[np.float32]


class GoldenMismatch(ArtifactError):
    """A model computes something else than its artifact says. The node must not serve it."""


def check_encoder(encoder: Encoder[Any], artifact: Artifact, engine_class: str) -> float:
    """Encode the artifact's golden inputs; the least cosine to the outputs it names.

    Raises GoldenMismatch where that is below the artifact's tolerance for the engine class.
    """
    inputs = golden_raws(encoder, artifact)
    # One by one: together they may be a larger batch than the encoder allows.
    actual = [encoder.forward([encoder.preprocess(raw)])[0] for raw in inputs]
    return _compare(np.stack(actual), _outputs(artifact, EMBEDDINGS), artifact, engine_class)


def check_batches(encoder: Encoder[Any], artifact: Artifact, engine_class: str) -> None:
    """Encode the smallest and the largest golden input together, and each of them alone.

    An engine that was made from a trace may take padding for input, which no single input shows.
    Raises GoldenMismatch where the embeddings differ beyond the tolerance.
    """
    raws = [encoder.example, *golden_raws(encoder, artifact)]
    items = sorted(map(encoder.preprocess, raws), key=lambda item: item.size)
    pair = [items[0], items[-1]]
    alone = np.concatenate([encoder.forward([item]) for item in pair])
    _compare(encoder.forward(pair), alone, artifact, engine_class)


def check_classifier(classifier: Classifier, artifact: Artifact, engine_class: str) -> float:
    """Classify the artifact's golden inputs; the least cosine to the probabilities it names.

    Raises GoldenMismatch also where a class differs.
    """
    examples = [_example(data) for data in artifact.golden_inputs()]
    actual, golden = classifier.classify(examples), _outputs(artifact, PROBABILITIES)
    least = _compare(actual, golden, artifact, engine_class)
    if (differs := actual.argmax(axis=1) != golden.argmax(axis=1)).any():
        raise GoldenMismatch(f"golden example {int(differs.argmax())} is of another class")
    return least


def golden_raws(encoder: Encoder[Any], artifact: Artifact) -> list[Raw]:
    """The artifact's golden inputs as the encoder reads them."""
    is_text = encoder.modality is Modality.TEXT
    return [data.decode("utf-8") if is_text else data for data in artifact.golden_inputs()]


def _example(data: bytes) -> Example:
    return {Modality(name): vector for name, vector in safetensors.numpy.load(data).items()}


def _outputs(artifact: Artifact, name: str) -> Vectors:
    return artifact.golden_outputs()[name].astype(np.float32)


def _compare(actual: Vectors, golden: Vectors, artifact: Artifact, engine_class: str) -> float:
    if actual.shape != golden.shape:
        raise GoldenMismatch(f"golden outputs have shape {golden.shape}, not {actual.shape}")
    least, tolerance = float(_cosines(actual, golden).min()), artifact.tolerance(engine_class)
    if not least >= tolerance:  # The least of any and NaN is NaN, and fails.
        raise GoldenMismatch(
            f"the golden outputs of {artifact.path} differ: the least cosine is {least:.6f}, "
            f"and {engine_class} needs {tolerance}"
        )
    return least


def _cosines(actual: Vectors, golden: Vectors) -> npt.NDArray[np.float64]:
    one, other = actual.astype(np.float64), golden.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: npt.NDArray[np.float64] = (one * other).sum(axis=1) / norms
    return cosines
