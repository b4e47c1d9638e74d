"""What a manifest holds, in figures. Sizes are told by the files' headers; nothing is decoded."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median

from PIL import Image
from soundfile import LibsndfileError, info

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.manifest import FEATURES, Manifest, Row, digest

UNREADABLE = (OSError, ValueError, LibsndfileError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the largest of some sizes."""

    median: float
    max: float


@dataclass(slots=True)
class Statistics:
    """The figures of one manifest.

    `classes` counts the rows by split and class, `coverage` those that hold an input or features,
    `combinations` those that hold exactly these, `groups` the groups by split. `duplicates` counts,
    by split and column, the rows whose content an earlier row of the split has. `unreadable` are
    files that are not there, or no picture or sound, which sizes and duplicates leave out.
    """

    rows: int
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    combinations: Counter[tuple[str, ...]] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)
    sizes: dict[str, Spread] = field(default_factory=dict)
    unreadable: int = 0


def statistics(
    manifest: Manifest, progress: Callable[[int], object] = lambda done: None
) -> Statistics:
    """Count everything; `progress` is told how many rows were read."""
    found = Statistics(len(manifest.rows))
    sizes: dict[str, list[float]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for done, row in enumerate(manifest.rows, 1):
        _count(found, row)
        for column, content in _contents(row):
            try:
                raw = content if isinstance(content, str) else content.read_bytes()
                for name, size in _sizes(column, raw):
                    sizes[name].append(size)
            except UNREADABLE:
                found.unreadable += 1
                continue
            key = (row.split, column, digest(raw))
            found.duplicates[key[:2]] += key in seen
            seen.add(key)
        progress(done)
    groups = {(row.split, row.group) for row in manifest.rows if row.group}
    found.groups.update(split for split, _ in groups)
    found.sizes = {name: Spread(median(values), max(values)) for name, values in sizes.items()}
    return found


def _count(found: Statistics, row: Row) -> None:
    columns = tuple(column for column, _ in _contents(row))
    found.classes[row.split, row.label] += 1
    found.combinations[columns] += 1
    found.coverage.update(columns)


def _contents(row: Row) -> Iterator[tuple[str, str | Path]]:
    yield from row.inputs.items()
    for modality, file in row.features.items():
        yield FEATURES[modality], file


def _sizes(column: str, raw: Raw) -> Iterator[tuple[str, float]]:
    if isinstance(raw, str):
        yield "text, characters", len(raw)
    elif column == Modality.IMAGE:
        with Image.open(BytesIO(raw)) as image:
            yield "image, pixels wide", image.width
            yield "image, pixels high", image.height
    elif column == Modality.AUDIO:
        yield "audio, seconds", info(BytesIO(raw)).duration
