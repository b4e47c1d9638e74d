"""What is read of a manifest's rows, when, and what is said of what can't be."""

from pathlib import Path

import numpy as np
import pytest

from mesh.embedding import Modality
from tests.fake_models import FakeEncoder
from training.errors import TrainingError
from training.manifest import Row
from training.trained import encoded, features_of, raw_inputs

IMAGE = Modality.IMAGE


def pictures(folder: Path, *names: str) -> list[Row]:
    """Rows of a picture each, which is its own name."""
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [
        Row(line, "joy", "test", "", {IMAGE: folder / name}, {})
        for line, name in enumerate(names, 2)
    ]


def feature(file: Path) -> list[Row]:
    """One row that has a file of features."""
    return [Row(2, "joy", "test", "", {}, {IMAGE: file})]


def test_inputs_are_those_at_the_places(tmp_path: Path) -> None:
    """By number, by slice and one after the other."""
    inputs = raw_inputs(pictures(tmp_path, "a", "b", "c"), [2, 0, 2], IMAGE)

    assert (len(inputs), inputs[0], inputs[-2]) == (3, b"c", b"a")
    assert [*inputs] == [b"c", b"a", b"c"]
    assert [*inputs[1:]] == [b"a", b"c"]


def test_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """And is not kept: a split may be larger than the memory."""
    inputs = raw_inputs(pictures(tmp_path, "a", "b"), [0, 1], IMAGE)
    (tmp_path / "b").unlink()

    assert inputs[0] == b"a"
    (tmp_path / "a").write_bytes(b"anew")
    assert inputs[0] == b"anew"
    with pytest.raises(TrainingError, match=r"line 3: .*b can't be read: No such file"):
        inputs[1]


@pytest.mark.parametrize("is_cached", [False, True])
def test_inputs_become_embeddings_from_their_files(tmp_path: Path, is_cached: bool) -> None:
    """With a cache or without."""
    inputs = raw_inputs(pictures(tmp_path, "a", "bb"), [1, 0], IMAGE)

    vectors = encoded(FakeEncoder(IMAGE), inputs, tmp_path / "cache" if is_cached else None)

    assert vectors.tolist() == [[2, ord("b"), 1], [1, ord("a"), 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a", "b"]], "can't be read: an array of <U1"),
        (["a", "b"], "can't be read: an array of <U1"),
        ([[1.0, 2.0]], r"can't be read: an array of float64 \(1, 2\), not a vector"),
        ([1.0, np.nan], "can't be read: the vector is empty, or holds what is not a finite"),
        ([1.0, 2.0, 3.0], "does not hold 2 finite numbers"),
    ],
)
def test_features_that_are_no_vector_are_named(
    tmp_path: Path, values: list[object], message: str
) -> None:
    """As `sensemesh data check` judges them, and with the head's length."""
    np.save(tmp_path / "f.npy", np.array(values))

    with pytest.raises(TrainingError, match=f"line 2: .*f.npy {message}"):
        features_of(feature(tmp_path / "f.npy"), [0], IMAGE, 2)


def test_features_are_float32_in_the_places_order(tmp_path: Path) -> None:
    """Whole numbers will do; no places make no vectors."""
    np.save(tmp_path / "f.npy", np.array([1, 2]))
    rows = feature(tmp_path / "f.npy")

    assert features_of(rows, [0, 0], IMAGE, 2).tolist() == [[1, 2], [1, 2]]
    assert features_of(rows, [], IMAGE, 2).shape == (0, 2)
    assert features_of(rows, [0], IMAGE, 2).dtype == np.float32
