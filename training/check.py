"""Everything in a manifest that training would stumble over, or be deceived by, found before it.

    for defect in defects(read_manifest(file), InputLimits()):
        print(defect.line, defect.column, defect.message)

The same content twice in one split is no defect: training.stats counts it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from mesh.settings import InputLimits
from training.examine import Defect, Examined, Examiner
from training.manifest import LEAST, SPLITS, Manifest, Row

# Those that training can't do without. On "test" nothing but a figure rests.
NEEDED: Final = ("train", "dev")


def defects(
    manifest: Manifest,
    limits: InputLimits,
    labels: Sequence[str] = (),
    least: int = LEAST,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Defect]:
    """All defects, by their lines. Every file is read and preprocessed as serving does it.

    Without `labels` any class is known. `least` is the number of each class's examples that "train"
    and "dev" need each; where no row has a split, that each split can be given. `progress` is told
    how many rows were read.
    """
    examined = list(_examine(manifest, limits, progress))
    found = [defect for one in examined for defect in one.defects]
    found += _defects_of_rows(manifest.rows, labels)
    found += _defects_of_splits(examined)
    found += _defects_of_classes(manifest, labels, least)
    found += _defects_of_dims(examined)
    return sorted(found)


def _examine(
    manifest: Manifest, limits: InputLimits, progress: Callable[[int], object]
) -> Iterator[Examined]:
    examiner = Examiner({modality for row in manifest.rows for modality in row.inputs}, limits)
    with ThreadPoolExecutor() as threads:
        for done, examined in enumerate(threads.map(examiner, manifest.rows), 1):
            yield examined
            progress(done)


def _defects_of_rows(rows: Sequence[Row], labels: Sequence[str]) -> Iterator[Defect]:
    is_split = any(row.split for row in rows)
    for row in rows:
        if not row.inputs and not row.features:
            yield Defect(row.line, "", "neither text, image, audio nor features")
        if not row.label:
            yield Defect(row.line, "label", "no label")
        elif labels and row.label not in labels:
            yield Defect(row.line, "label", f"{row.label!r} is none of {', '.join(labels)}")
        if is_split and not row.split:
            yield Defect(row.line, "split", "no split, though other rows have one")
        if row.split and row.split not in SPLITS:
            yield Defect(row.line, "split", f"{row.split!r} is none of {', '.join(SPLITS)}")


def _defects_of_splits(examined: Iterable[Examined]) -> Iterator[Defect]:
    """What is in two splits: a text, a file, a group. The later row is the one that is named."""
    first: dict[tuple[str, str], Row] = {}
    for column, value, row in _tied(examined):
        other = first.setdefault((column, value), row)
        if other.split != row.split:
            what = f"the group {value!r}" if column == "group" else f"the same {_noun(column)}"
            message = f"{what} is also on line {other.line}, in {other.split}"
            yield Defect(row.line, column, message)


def _tied(examined: Iterable[Examined]) -> Iterator[tuple[str, str, Row]]:
    """What ties rows together: the column, its value or its content's digest, the row."""
    for one in examined:
        if one.row.split in SPLITS:
            if one.row.group:
                yield "group", one.row.group, one.row
            for column, value in one.digests.items():
                yield column, value, one.row


def _noun(column: str) -> str:
    return column if column == "text" else f"content of {column}"


def _defects_of_classes(manifest: Manifest, labels: Sequence[str], least: int) -> Iterator[Defect]:
    """Classes with too few examples, on the line of the first of them."""
    lines = dict.fromkeys(labels, 0) | {row.label: row.line for row in reversed(manifest.rows)}
    known = [label for label in lines if label and (not labels or label in labels)]
    for place, rows, needed in _needs(manifest, least):
        counts = Counter(row.label for row in rows)
        for label in known:
            if counts[label] < needed:
                have = f"{counts[label]}, where {needed} are needed"
                message = f"too few examples of {label!r}{place}: {have}"
                yield Defect(lines[label], "label", message)


def _needs(manifest: Manifest, least: int) -> Iterator[tuple[str, Sequence[Row], int]]:
    if not any(row.split for row in manifest.rows):
        yield "", manifest.rows, least * len(SPLITS)
        return
    for name in NEEDED:
        yield f" in {name}", manifest.split(name).rows, least


def _defects_of_dims(examined: Iterable[Examined]) -> Iterator[Defect]:
    """Features that are not as long as the first ones of their column."""
    first: dict[str, tuple[int, int]] = {}
    for one in examined:
        for column, dim in one.dims.items():
            length, line = first.setdefault(column, (dim, one.row.line))
            if dim != length:
                message = f"{dim} numbers, while line {line} has {length}"
                yield Defect(one.row.line, column, message)
