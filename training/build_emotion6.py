"""Make emotion6's manifest out of GoEmotions, FER2013 and EmoDB (training.emotion6_sets).

    TO/manifest.csv, TO/images/*.png, TO/audio/*.wav

Each row holds a text, a face or a voice: no person is in two of the sets, so training joins them by
class. What the publishers train on is "train"; their dev rows are "dev" or "test" by a hash of
their ids; of the voices one speaker is "dev", one is "test" and the others are "train".
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mesh.embedding import Modality
from training.built import Built
from training.emotion6_sets import Example, read_faces, read_texts, read_voices
from training.errors import TrainingError
from training.manifest import digest, write_manifest

LABELS: Final = ("anger", "disgust", "fear", "joy", "neutral", "sadness")
SETS: Final = {
    Modality.TEXT: ("goemotions", read_texts),
    Modality.IMAGE: ("fer2013", read_faces),
    Modality.AUDIO: ("emodb", read_voices),
}
FILES: Final = {Modality.IMAGE: "images/{}.png", Modality.AUDIO: "audio/{}.wav"}


def build_emotion6(
    source: Path, target: Path, progress: Callable[[int], object] = lambda done: None
) -> Built:
    """Read the folders of the three sets in `source`, and write pictures, voices and manifest.

    A file of the same name in `target` is replaced. `progress` is told how many rows were written.
    Raises TrainingError where a set is not there or not in a form that is known.
    """
    built = Built(target / "manifest.csv")
    for name in FILES.values():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for modality, example in _kept(source, built):
        rows.append(_write(target, modality, example))
        progress(len(rows))
    write_manifest(built.manifest, rows)
    return built


def _kept(source: Path, built: Built) -> Iterator[tuple[Modality, Example]]:
    """The examples of LABELS without copies: nothing held out may also be trained on."""
    for modality, (folder, read) in SETS.items():
        seen: dict[str, str] = {}
        for example in _read(source / folder, read):
            first = seen.get(key := digest(example.raw))
            if example.label not in LABELS:
                built.left_out[f"{modality}: {example.label}"] += 1
            elif first is not None and example.split != "train":
                built.left_out[f"{modality}: held out, a copy of one in {first}"] += 1
            else:
                seen.setdefault(key, example.split)
                built.kept[f"{modality}: {example.split}"] += 1
                yield modality, example


def _read(folder: Path, read: Callable[[Path], Iterator[Example]]) -> Iterator[Example]:
    try:
        yield from read(folder)
    except OSError as error:
        raise TrainingError(f"{error.filename} can't be read: {error.strerror}") from error
    except (KeyError, IndexError, ValueError) as error:
        raise TrainingError(f"{folder} is in no form that is known: {error!r}") from error


def _write(target: Path, modality: Modality, example: Example) -> dict[str, str]:
    """A row of the manifest, and the file that it names."""
    cell = example.raw
    if isinstance(cell, bytes):
        name = FILES[modality].format(example.name)
        (target / name).write_bytes(cell)
        cell = name
    return {
        modality: cell,
        "label": example.label,
        "split": example.split,
        "group": example.group,
    }
