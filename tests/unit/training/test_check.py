"""A manifest with each kind of defect, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest

from mesh.settings import InputLimits
from tests.media import encoded, gradient, sound, tone
from training.check import defects
from training.manifest import Manifest, read_manifest, write_manifest

LIMITS = InputLimits(max_text_chars=50, max_image_pixels=5000, max_audio_seconds=2)
LABELS = ("anger", "joy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some good files, and one of each kind of bad."""
    png, wav = encoded(gradient(), "PNG"), sound(tone(0.2))
    files = {
        "good.png": png,
        "twin.png": png,
        "cut.png": png[: len(png) // 2],
        "huge.png": encoded(gradient(size=(100, 60)), "PNG"),
        "good.wav": wav,
        "cut.wav": wav[: len(wav) // 2],
        "long.wav": sound(tone(3.0)),
        "text.npy": b"no array",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    arrays = {"good": [1.0, 2.0], "odd": [1.0, 2.0, 3.0], "flat": [[1.0]], "nan": [1.0, np.nan]}
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", np.array(values, np.float32))
    np.save(tmp_path / "names.npy", np.array(["a", "b"]))
    return tmp_path


def manifest(folder: Path, *rows: str) -> Manifest:
    """Rows of column=value, separated by semicolons; without a class they are of joy."""
    cells = [dict(cell.split("=", 1) for cell in row.split("; ") if cell) for row in rows]
    write_manifest(folder / "m.csv", [{"label": "joy"} | row for row in cells])
    return read_manifest(folder / "m.csv")


def enough(*, splits: tuple[str, ...] = ("train", "dev")) -> list[str]:
    """Two rows of each class in each of these splits, on lines 2 to 9."""
    return [
        f"text={split} {label} {n}; split={split}; label={label}"
        for split in splits
        for label in LABELS
        for n in range(2)
    ]


EACH = [
    ("image=gone.png", "image", "gone.png can't be read: No such file or directory"),
    ("image=.", "image", "can't be read: Is a directory"),
    ("image=a\0b.png", "image", "embedded null byte"),
    ("image=cut.png", "image", "the PNG image is cut off or broken"),
    ("image=huge.png", "image", "the image has 100 x 60 pixels, more than 5000"),
    ("image=good.wav", "image", "the image is none of JPEG, PNG, WEBP, GIF, BMP"),
    ("audio=cut.wav", "audio", "the WAV sound is cut off"),
    ("audio=long.wav", "audio", "the sound is longer than 2 s"),
    ("audio=good.png", "audio", "the sound is none of WAV, FLAC, OGG, MP3"),
    (f"text={'a' * 51}", "text", "the text has 51 characters, more than 50"),
    ("", "", "neither text, image, audio nor features"),
    ("text=a; label=", "label", "no label"),
    ("text=b; label=jooy", "label", "'jooy' is none of anger, joy"),
    ("text=c; split=valid", "split", "'valid' is none of train, dev, test"),
    ("text=d; split=", "split", "no split, though other rows have one"),
    ("text=train joy 0; split=dev", "text", "the same text is also on line 4, in train"),
    ("image=twin.png; split=test", "image", "the same content of image is also on line 10, in dev"),
    ("text=e; group=anna; split=test", "group", "the group 'anna' is also on line 10, in dev"),
    ("text_features=gone.npy", "text_features", "gone.npy can't be read: No such file"),
    ("text_features=text.npy", "text_features", "no .npy file of numbers"),
    ("text_features=names.npy", "text_features", "an array of <U1 (2,), not a vector of numbers"),
    ("text_features=flat.npy", "text_features", "an array of float32 (1, 1), not a vector"),
    (
        "text_features=nan.npy",
        "text_features",
        "the vector is empty, or holds what is not a finite",
    ),
    ("text_features=odd.npy", "text_features", "3 numbers, while line 10 has 2"),
]


def test_each_kind_of_defect_is_named_on_its_line(folder: Path) -> None:
    """All in one manifest, in the order of its rows, and nothing else."""
    good = "image=good.png; audio=good.wav; text_features=good.npy; group=anna; split=dev"
    bad = [row if "split=" in row else f"{row}; split=dev".strip("; ") for row, _, _ in EACH]

    found = defects(manifest(folder, *enough(), good, *bad), LIMITS, LABELS)

    assert [(defect.line, defect.column) for defect in found] == [
        (line, column) for line, (_, column, _) in enumerate(EACH, 11)
    ]
    for defect, (_, _, message) in zip(found, EACH, strict=True):
        assert message in defect.message


def test_a_class_with_too_few_examples_is_named(folder: Path) -> None:
    """On the line of its first example; a class of which there is none has no line."""
    rows = [*enough(splits=("train",)), "text=x; split=dev", "text=y; split=dev; label=anger"]

    found = defects(manifest(folder, *rows), LIMITS, (*LABELS, "fear"))

    assert [(defect.line, defect.column, defect.message) for defect in found] == [
        (0, "label", "too few examples of 'fear' in dev: 0, where 2 are needed"),
        (0, "label", "too few examples of 'fear' in train: 0, where 2 are needed"),
        (2, "label", "too few examples of 'anger' in dev: 1, where 2 are needed"),
        (4, "label", "too few examples of 'joy' in dev: 1, where 2 are needed"),
    ]
    assert defects(manifest(folder, *rows), LIMITS, least=1) == []


def test_without_splits_a_class_needs_enough_for_all_of_them(folder: Path) -> None:
    """Two for each; nothing is said of splits that are not there."""
    rows = ["text=same; group=a"] * 6 + [f"text={n}; label=anger" for n in range(5)]

    [defect] = defects(manifest(folder, *rows), LIMITS)

    assert (defect.line, defect.message) == (
        8,
        "too few examples of 'anger': 5, where 6 are needed",
    )


def test_a_good_manifest_has_no_defects(folder: Path) -> None:
    """The same content twice in one split is none, and any class is known where none are given."""
    twice = ["image=good.png; split=train", "image=twin.png; split=train"]

    assert defects(manifest(folder, *enough(), *twice), LIMITS) == []


def test_progress_is_told_row_by_row(folder: Path) -> None:
    """How many are done."""
    told: list[int] = []

    defects(manifest(folder, *enough()), LIMITS, progress=told.append)

    assert told == list(range(1, 9))
