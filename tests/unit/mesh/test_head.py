"""A fusion head at work, without a wire."""

import time
from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import CollectorRegistry

from mesh.classifying import EncoderVersion, Example
from mesh.embedding import Embedding, Modality
from mesh.errors import InvalidInput, MeshError
from mesh.head import Head
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from tests.fake_models import PATIENCE, VERSION, FakeClassifier

TEXT, IMAGE, AUDIO = Modality


class Misshapen(FakeClassifier):
    """Gives one class too many."""

    def classify(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """(examples, 3)."""
        return np.ones((len(examples), 3), np.float32)


def head_of(classifier: FakeClassifier) -> Head:
    """A head of one replica."""
    return Head([classifier], NodeSettings(), NodeMetrics(CollectorRegistry()))


@pytest.fixture
async def head() -> AsyncIterator[Head]:
    """A head that knows texts and pictures, but no sounds."""
    encoders = {m: EncoderVersion(VERSION, 3) for m in (TEXT, IMAGE)}
    made = head_of(FakeClassifier(encoders=encoders))
    made.start()
    yield made
    await made.close(PATIENCE)


def embeddings(*modalities: Modality, version: str = VERSION) -> dict[Modality, Embedding]:
    """Three ones for each modality."""
    data = np.ones(3, "<f4").tobytes()
    return {m: Embedding(m, version, "float32", 3, data) for m in modalities}


async def test_an_example_becomes_probabilities_of_the_labels(head: Head) -> None:
    """One for each label."""
    item = head.item(embeddings(TEXT, IMAGE))
    (probabilities,) = await head.classify([item], time.monotonic() + PATIENCE)
    assert probabilities.tolist() == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(
    ("modalities", "version", "understood"),
    [
        ((TEXT,), VERSION, True),
        ((TEXT, IMAGE), VERSION, True),
        ((AUDIO,), VERSION, False),
        ((TEXT, AUDIO), VERSION, False),
        ((TEXT,), "sha256:other", False),
    ],
)
async def test_it_understands_exactly_what_it_was_trained_on(
    head: Head, modalities: tuple[Modality, ...], version: str, understood: bool
) -> None:
    """These encoders, in these versions."""
    assert head.understands(embeddings(*modalities, version=version)) is understood


async def test_an_embedding_of_another_dim_is_refused(head: Head) -> None:
    """Before it reaches the model."""
    wrong = Embedding(TEXT, VERSION, "float32", 2, bytes(8))
    with pytest.raises(InvalidInput, match="dim 2, not 3"):
        head.item({TEXT: wrong})


async def test_an_array_of_a_wrong_shape_is_no_answer() -> None:
    """A model must keep its contract."""
    head = head_of(Misshapen())
    head.start()
    with pytest.raises(MeshError, match="shape"):
        await head.classify([head.item(embeddings(TEXT))], time.monotonic() + PATIENCE)
    await head.close(PATIENCE)
