"""The readers of the data sets, their parts, and the judged set."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mesh.embedding import Modality
from tests.training_data import TRAIN_SPEAKERS, write_data
from training.data import LABELS, READERS, draw_by_class, draw_judged


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny folder of the three data sets."""
    return write_data(tmp_path_factory.mktemp("data"))


def test_classes_that_not_all_sets_have_are_left_out(data: Path) -> None:
    """Neither surprise nor boredom is read, nor a text of two classes."""
    texts, faces, voices = (READERS[modality](data, "judged") for modality in Modality)

    assert np.bincount(texts.labels).tolist() == [2, 2, 2, 3, 2, 2]
    assert np.bincount(faces.labels).tolist() == [2] * 6
    assert np.bincount(voices.labels).tolist() == [2] * 6
    assert "dev-both" not in texts.sources


def test_labels_mean_the_same_in_all_sets(data: Path) -> None:
    """Each set's own names are mapped to LABELS."""
    texts, faces, voices = (READERS[modality](data, "judged") for modality in Modality)

    assert texts.labels[texts.sources.index("dev-5-0")] == LABELS.index("sadness")
    assert faces.labels[faces.sources.index("dev/8")] == LABELS.index("sadness")
    assert voices.labels[voices.sources.index("13a01Ta.wav")] == LABELS.index("sadness")
    assert faces.labels[faces.sources.index("dev/12")] == LABELS.index("neutral")
    assert voices.labels[voices.sources.index("13a01Wa.wav")] == LABELS.index("anger")


def test_a_text_may_hold_unicodes_own_line_ends(data: Path) -> None:
    """Only a line feed ends a row."""
    texts = READERS[Modality.TEXT](data, "judged")

    assert texts.inputs[texts.sources.index("dev-odd")] == "a line\x85that\u2028looks broken"


def test_faces_are_png_files_of_the_very_pixels(data: Path) -> None:
    """Nothing is lost on the way to the encoder."""
    faces = READERS[Modality.IMAGE](data, "judged")
    with np.load(data / "fer2013" / "dev.npz") as file:
        expected = file["images"][int(faces.sources[3].removeprefix("dev/"))]

    raw = faces.inputs[3]
    assert isinstance(raw, bytes)
    assert np.array_equal(np.asarray(Image.open(BytesIO(raw))), expected)


@pytest.mark.parametrize(
    ("modality", "parts"),
    [
        (Modality.TEXT, ("train", "validation", "judged")),
        (Modality.IMAGE, ("tune", "train", "validation", "judged")),
        (Modality.AUDIO, ("train", "judged")),
    ],
)
def test_the_parts_of_a_set_have_nothing_in_common(
    data: Path, modality: Modality, parts: tuple[str, ...]
) -> None:
    """No input is in two of them, and each part is the same at every reading."""
    sources = [READERS[modality](data, part).sources for part in parts]
    everything = [source for part in sources for source in part]

    assert len(everything) == len(set(everything))
    assert [READERS[modality](data, part).sources for part in parts] == sources


def test_no_training_hears_the_judged_speakers(data: Path) -> None:
    """Voices are parted by who speaks."""
    heard = {name[:2] for name in READERS[Modality.AUDIO](data, "train").sources}
    judged = {name[:2] for name in READERS[Modality.AUDIO](data, "judged").sources}

    assert heard == set(TRAIN_SPEAKERS)
    assert judged == {"13", "15"}


def test_a_draw_is_uniform_over_the_classes() -> None:
    """However rare a class is, and in the classes' order."""
    labels = np.array([5, 0, 1, 2, 3, 4, 0, 0, 0])

    rows = draw_by_class(labels, 3, np.random.default_rng(0))

    assert labels[rows].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 + [5] * 3


def test_the_judged_set_is_always_the_same(data: Path) -> None:
    """200 triples a class, whose three parts are of one class."""
    labels = {modality: READERS[modality](data, "judged").labels for modality in Modality}

    one, other = draw_judged(labels), draw_judged(labels)

    classes = np.repeat(np.arange(6), 200)
    for modality in Modality:
        assert np.array_equal(one[modality], other[modality])
        assert np.array_equal(labels[modality][one[modality]], classes)
