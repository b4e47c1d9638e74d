"""Readers of the three data sets, and the judged set that joins them by class.

Every example is what a caller would send: a text, a PNG file's bytes, a WAV file's bytes. The
"train" and "validation" parts are for training the fusion head and every choice on the way. Faces
have a "tune" part too: the head learns from faces that their encoder was not tuned on, and so how
far that encoder can be trusted. The "judged" part is for the final figures alone: dev rows of the
texts and faces, and speakers of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mesh.embedding import Modality
from mesh.encoding import Raw

LABELS: Final = ("anger", "disgust", "fear", "joy", "neutral", "sadness")

# GoEmotions numbers its Ekman labels in this order, then surprise; FER2013 names its classes;
# EmoDB has a letter for each in the file's name. Surprise and boredom are in one set only.
FACE_LABELS: Final = ("angry", "disgust", "fear", "happy", "neutral", "sad")
VOICE_LABELS: Final = ("W", "E", "A", "F", "N", "T")

# A woman and a man, whom no training hears. Among the others each is left out in turn.
JUDGED_SPEAKERS: Final = ("13", "15")
# The parts of each file of training rows, and their shares.
TEXT_SHARES: Final = {"validation": 0.1, "train": 0.9}
FACE_SHARES: Final = {"validation": 0.1, "train": 0.2, "tune": 0.7}
JUDGED_PER_CLASS: Final = 200
SEED: Final = 0


@dataclass(frozen=True)
class Labelled:
    """Inputs of one modality with their classes, int64 of shape (inputs,), and where they are from.

    `sources` are ids, rows or file names.
    """

    inputs: list[Raw]
    labels: np.ndarray
    sources: list[str]

    def subset(self, rows: np.ndarray) -> "Labelled":
        """Some of the inputs, by their indices."""
        return Labelled(
            [self.inputs[row] for row in rows],
            self.labels[rows],
            [self.sources[row] for row in rows],
        )


def read_texts(data: Path, part: str) -> Labelled:
    """GoEmotions: the rows that have one label, which is one of LABELS."""
    file = data / "goemotions" / ("dev.tsv" if part == "judged" else "train.tsv")
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").strip("\n").split("\n")]
    numbers = {str(number) for number in range(len(LABELS))}
    kept = [row for row in rows if row[1] in numbers]
    texts = Labelled(
        [text for text, _, _ in kept],
        np.array([int(label) for _, label, _ in kept]),
        [source for _, _, source in kept],
    )
    return texts if part == "judged" else _share(texts, TEXT_SHARES, part)


def read_faces(data: Path, part: str) -> Labelled:
    """FER2013: 48 x 48 grey faces, as PNG files."""
    split = "dev" if part == "judged" else "train"
    with np.load(data / "fer2013" / f"{split}.npz") as file:
        images, numbers, classes = file["images"], file["labels"], file["classes"]
    names = classes[numbers]
    rows = np.flatnonzero(np.isin(names, FACE_LABELS))
    faces = Labelled(
        [_png(images[row]) for row in rows],
        np.array([FACE_LABELS.index(names[row]) for row in rows]),
        [f"{split}/{row}" for row in rows],
    )
    return faces if part == "judged" else _share(faces, FACE_SHARES, part)


def read_voices(data: Path, part: str) -> Labelled:
    """EmoDB: the clips of the part's speakers. A name is 2 digits speaker, 3 text, 1 emotion.

    There is no part "validation": voices are too few to keep some out of all training.
    """
    files = sorted((data / "emodb" / "wav").glob("*.wav"))
    kept = [
        file
        for file in files
        if (file.name[:2] in JUDGED_SPEAKERS) == (part == "judged") and file.name[5] in VOICE_LABELS
    ]
    return Labelled(
        [file.read_bytes() for file in kept],
        np.array([VOICE_LABELS.index(file.name[5]) for file in kept]),
        [file.name for file in kept],
    )


READERS: Final[Mapping[Modality, Callable[[Path, str], Labelled]]] = {
    Modality.TEXT: read_texts,
    Modality.IMAGE: read_faces,
    Modality.AUDIO: read_voices,
}


def draw_by_class(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers drawn with replacement, `per_class` of class 0, then as many of class 1, ..."""
    drawn = [
        rng.choice(np.flatnonzero(labels == number), per_class) for number in range(len(LABELS))
    ]
    return np.concatenate(drawn)


def draw_judged(labels: Mapping[Modality, np.ndarray]) -> dict[Modality, np.ndarray]:
    """The judged set: each modality's row numbers, uniform over the classes, joined by class.

    The parts of an example have nothing in common but their class, which flatters fusion.
    """
    rng = np.random.default_rng(SEED)
    return {
        modality: draw_by_class(labels[modality], JUDGED_PER_CLASS, rng) for modality in Modality
    }


def _share(whole: Labelled, shares: Mapping[str, float], part: str) -> Labelled:
    """A part's share of the rows, by a fixed draw."""
    rows = np.random.default_rng(SEED).permutation(len(whole.labels))
    cuts = (np.cumsum([0.0, *shares.values()]) * len(rows)).round().astype(int)
    place = list(shares).index(part)
    return whole.subset(np.sort(rows[cuts[place] : cuts[place + 1]]))


def _png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
