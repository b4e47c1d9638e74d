"""The three public sets of emotion6 as their publishers lay them out, or as arrays and short lists.

    goemotions/   train.tsv and dev.tsv: text, class numbers, id; the classes are in labels.txt, or
                  28 of them in emotions.txt, which ekman_mapping.json puts together into seven
    fer2013/      fer2013.csv, or train.npz and dev.npz with images, labels and classes
    emodb/wav/    03a01Fa.wav: 2 digits speaker, 3 text, 1 emotion, 1 version

What the publishers themselves test on (GoEmotions' test.tsv, FER2013's PrivateTest) is not read.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mesh.encoding import Raw
from training.errors import TrainingError

SEVERAL: Final = "several classes"

# FER2013's own words for what the others call otherwise, how fer2013.csv numbers its classes and
# names its parts, and the side of its pictures.
FACE_LABELS: Final = {"angry": "anger", "happy": "joy", "sad": "sadness"}
FACE_CLASSES: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FACE_PARTS: Final = {"Training": "train", "PublicTest": "dev"}
FACE_SIDE: Final = 48

VOICE: Final = re.compile(r"(?P<speaker>\d\d)[a-z]\d\d(?P<emotion>[WLEAFTN])[a-z]")
VOICE_LABELS: Final = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "joy",
    "T": "sadness",
    "N": "neutral",
}
# A woman and a man.
VOICE_SPLITS: Final = {"13": "dev", "15": "test"}

# Grey, uint8 (FACE_SIDE, FACE_SIDE).
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Example:
    """A text, or a file's bytes. `label` is any class of its set, or SEVERAL; `name` is unique."""

    raw: Raw
    label: str
    split: str
    group: str
    name: str


def read_texts(folder: Path) -> Iterator[Example]:
    """GoEmotions, all rows of both files."""
    classes = _text_classes(folder)
    for part in ("train", "dev"):
        # Only a line feed ends a row: the texts hold Unicode's own line ends.
        rows = (folder / f"{part}.tsv").read_text(encoding="utf-8").strip("\n").split("\n")
        for number, row in enumerate(rows, 1):
            try:
                text, numbers, source = row.split("\t")
                labels = {classes[int(number)] for number in numbers.split(",")}
            except (ValueError, IndexError) as error:
                raise TrainingError(f"{folder / part}.tsv, line {number}: {error}") from error
            label = labels.pop() if len(labels) == 1 else SEVERAL
            yield Example(text, label, _split(part, source), "", source)


def read_faces(folder: Path) -> Iterator[Example]:
    """FER2013, as PNG files. A face's id is its part and its place there."""
    read = _faces_of_csv if (folder / "fer2013.csv").exists() else _faces_of_arrays
    for part, place, pixels, name in read(folder):
        source = f"{part}-{place:05}"
        label = FACE_LABELS.get(name, name)
        yield Example(_png(pixels), label, _split(part, source), "", source)


def read_voices(folder: Path) -> Iterator[Example]:
    """EmoDB. A speaker is a group, and in one split."""
    files = sorted((folder / "wav").glob("*.wav"))
    if not files:
        raise TrainingError(f"there are no recordings in {folder / 'wav'}")
    for file in files:
        match = VOICE.fullmatch(file.stem)
        if match is None:
            raise TrainingError(f"{file}: a recording's name should be like 03a01Fa.wav")
        speaker = match["speaker"]
        split = VOICE_SPLITS.get(speaker, "train")
        yield Example(file.read_bytes(), VOICE_LABELS[match["emotion"]], split, speaker, file.stem)


def _split(part: str, source: str) -> str:
    """Train, or half of what the publisher calls dev: the same half at any time and anywhere."""
    is_even = hashlib.sha256(source.encode()).digest()[0] % 2 == 0
    return "train" if part == "train" else "dev" if is_even else "test"


def _text_classes(folder: Path) -> list[str]:
    """The class that each number means; several of the publisher's 28 are the same one here."""
    if not (folder / "emotions.txt").exists():
        return (folder / "labels.txt").read_text(encoding="utf-8").split()
    mapping = json.loads((folder / "ekman_mapping.json").read_text(encoding="utf-8"))
    broad = {fine: label for label, fines in mapping.items() for fine in fines}
    # "neutral" is in no group.
    return [broad.get(fine, fine) for fine in (folder / "emotions.txt").read_text().split()]


def _faces_of_arrays(folder: Path) -> Iterator[tuple[str, int, Pixels, str]]:
    for part in ("train", "dev"):
        with np.load(folder / f"{part}.npz") as file:
            images, names = file["images"], file["classes"][file["labels"]]
        for place, (pixels, name) in enumerate(zip(images, names, strict=True)):
            yield part, place, pixels, str(name)


def _faces_of_csv(folder: Path) -> Iterator[tuple[str, int, Pixels, str]]:
    for usage, part in FACE_PARTS.items():
        with (folder / "fer2013.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            faces = (row for row in rows if row["Usage"] == usage)
            for place, row in enumerate(faces):
                pixels = np.array(row["pixels"].split(), np.uint8).reshape(FACE_SIDE, FACE_SIDE)
                yield part, place, pixels, FACE_CLASSES[int(row["emotion"])]


def _png(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
