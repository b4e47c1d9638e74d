"""A tiny folder of the three data sets, made of nothing but noise, in the forms that they have."""

from pathlib import Path
from typing import Final

import numpy as np

from tests.media import sound, tone

TRAIN_SPEAKERS: Final = ("03", "08")
FACE_CLASSES: Final = np.array(["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"])


def write_data(folder: Path, train: int = 10) -> Path:
    """So many texts and faces of each class for training, two for judging.

    And a clip of each class by each of four speakers, two of whom are judged.
    """
    _write_texts(folder / "goemotions", train=train, dev=2)
    _write_faces(folder / "fer2013", train=train, dev=2)
    _write_voices(folder / "emodb" / "wav")
    return folder


def _write_texts(folder: Path, **counts: int) -> None:
    folder.mkdir(parents=True)
    for split, count in counts.items():
        rows = [
            f"{split} text {n} of {label}\t{label}\t{split}-{label}-{n}\n"
            for label in range(7)
            for n in range(count)
        ]
        both = f"of two minds\t0,3\t{split}-both\n"
        odd = f"a line\x85that\u2028looks broken\t3\t{split}-odd\n"
        (folder / f"{split}.tsv").write_text("".join([*rows, both, odd]), encoding="utf-8")


def _write_faces(folder: Path, **counts: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        labels = np.repeat(np.arange(7), count)
        images = rng.integers(0, 256, (len(labels), 48, 48), dtype=np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=labels, classes=FACE_CLASSES)


def _write_voices(folder: Path) -> None:
    folder.mkdir(parents=True)
    for speaker in (*TRAIN_SPEAKERS, "13", "15"):
        for letter in "WLEAFTN":
            (folder / f"{speaker}a01{letter}a.wav").write_bytes(sound(tone(0.1)))
