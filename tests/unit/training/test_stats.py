"""What is counted of a manifest."""

from pathlib import Path

import numpy as np
import pytest

from tests.media import encoded, gradient, sound, tone
from training.manifest import read_manifest, write_manifest
from training.stats import Spread, Statistics, statistics

ROWS = [
    {"text": "hi", "image": "a.png", "label": "joy", "split": "train", "group": "anna"},
    {"text": "hello", "label": "joy", "split": "train", "group": "anna"},
    {"text": "hello", "image": "b.png", "label": "anger", "split": "train", "group": "bob"},
    {"text": "hello", "audio": "c.wav", "label": "anger", "split": "dev", "group": "carl"},
    {"audio": "d.wav", "text_features": "e.npy", "label": "joy", "split": "dev"},
    {"image": "gone.png", "audio": "a.png", "label": "joy", "split": "test"},
]


@pytest.fixture
def found(tmp_path: Path) -> Statistics:
    """The figures of ROWS."""
    (tmp_path / "a.png").write_bytes(encoded(gradient(size=(60, 40)), "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(gradient(size=(100, 50)), "PNG"))
    (tmp_path / "c.wav").write_bytes(sound(tone(0.5)))
    (tmp_path / "d.wav").write_bytes(sound(tone(1.5)))
    np.save(tmp_path / "e.npy", np.zeros(3))
    write_manifest(tmp_path / "m.csv", ROWS)
    return statistics(read_manifest(tmp_path / "m.csv"))


def test_rows_are_counted_by_split_and_class(found: Statistics) -> None:
    """And groups by split."""
    assert found.rows == 6
    assert found.classes["train", "joy"] == 2
    assert found.classes["dev", "anger"] == 1
    assert found.classes["test", "anger"] == 0
    assert found.groups == {"train": 2, "dev": 1}


def test_rows_are_counted_by_what_they_hold(found: Statistics) -> None:
    """Each input by itself, and exactly these inputs together."""
    assert found.coverage == {"text": 4, "image": 3, "audio": 3, "text_features": 1}
    assert found.combinations["text", "image"] == 2
    assert found.combinations["audio", "text_features"] == 1
    assert found.combinations["text",] == 1


def test_sizes_have_a_middle_and_a_maximum(found: Statistics) -> None:
    """Of texts in characters, of pictures in pixels, of sounds in seconds."""
    assert found.sizes == {
        "text, characters": Spread(5, 5),
        "image, pixels wide": Spread(80, 100),
        "image, pixels high": Spread(45, 50),
        "audio, seconds": Spread(1.0, 1.5),
    }


def test_content_that_comes_again_in_its_split_is_counted(found: Statistics) -> None:
    """In another split it is not a duplicate but a defect."""
    assert found.duplicates["train", "text"] == 1
    assert found.duplicates.total() == 1


def test_files_that_can_not_be_read_are_counted(found: Statistics) -> None:
    """One is not there, and one is no sound."""
    assert found.unreadable == 2
