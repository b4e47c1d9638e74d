"""Gives the rows of a manifest without splits one each, stratified by class.

The rows of a group, and rows that share a text or a file, come into the same one.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from training.manifest import LEAST, Manifest, ManifestError, Row, digest, read_manifest

SHARES: Final = MappingProxyType({"train": 0.8, "dev": 0.1, "test": 0.1})

Labels = npt.NDArray[np.str_]
Units = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


def read_with_splits(file: Path, seed: int) -> Manifest:
    """Read a manifest and give it splits where it has none; raises as both do."""
    return with_splits(read_manifest(file), seed)


def held_out(train: Manifest, share: float, seed: int) -> frozenset[int]:
    """The lines of so large a share of the training rows, every class among them.

    As in splits, rows that are tied stay together, and whichever modalities a row holds are held
    out together. Raises ManifestError where a file can't be read.
    """
    if not share:
        return frozenset()
    labels = np.array([row.label for row in train.rows])
    drawn = _draw(labels, _units(train.rows), share, seed)
    return frozenset(train.rows[number].line for number in np.flatnonzero(drawn))


def with_splits(manifest: Manifest, seed: int, shares: Mapping[str, float] = SHARES) -> Manifest:
    """The manifest with a split in every row: as it is where all have one already.

    The same seed gives the same splits. The first of `shares`, which sum to 1, takes what the
    others leave. Raises ManifestError where only some rows have a split, or a class has too few
    examples to be in every split, or a file can't be read.
    """
    named = sum(bool(row.split) for row in manifest.rows)
    if named == len(manifest.rows):
        return manifest
    if named:
        raise ManifestError(f"{manifest.path}: {named} of {len(manifest.rows)} rows have a split")
    labels, units = np.array([row.label for row in manifest.rows]), _units(manifest.rows)
    rest, *held_out = shares
    splits = np.full(len(labels), rest, dtype=object)
    left = 1.0
    for name in reversed(held_out):
        rows = np.flatnonzero(splits == rest)
        splits[rows[_draw(labels[rows], units[rows], shares[name] / left, seed)]] = name
        left -= shares[name]
    pairs = zip(manifest.rows, splits, strict=True)
    whole = Manifest(manifest.path, tuple(replace(row, split=split) for row, split in pairs))
    _require_enough(whole, units, shares)
    return whole


def _units(rows: tuple[Row, ...]) -> Units:
    """The number of each row's unit, (rows,): rows of a unit are tied by a group or by content."""
    ties: dict[str, int] = {}
    pairs = [
        (number, ties.setdefault(tie, len(ties)))
        for number, row in enumerate(rows)
        for tie in _ties(row)
    ]
    starts, ends = np.array(pairs, np.intp).reshape(-1, 2).T
    size = len(rows) + len(ties)
    graph = coo_array((np.ones(len(starts)), (starts, len(rows) + ends)), shape=(size, size))
    _, units = connected_components(graph, directed=False)
    return np.asarray(units[: len(rows)], np.intp)


def _ties(row: Row) -> Iterator[str]:
    if row.group:
        yield f"group {row.group}"
    try:
        for modality in row.inputs:
            yield f"{modality} {digest(row.raw(modality))}"
        for modality, file in row.features.items():
            yield f"features of {modality} {digest(file.read_bytes())}"
    except OSError as error:
        raise ManifestError(f"line {row.line}: {error.filename}: {error.strerror}") from error


def _draw(labels: Labels, units: Units, share: float, seed: int) -> Mask:
    """Whole units of about this share of the rows, every class among them: a mask (rows,)."""
    drawn = np.zeros(len(labels), bool)
    is_single = np.bincount(units)[units] == 1
    for rows in (np.flatnonzero(is_single), np.flatnonzero(~is_single)):
        drawn[rows[_fold(labels[rows], units[rows], share, seed)]] = True
    _top_up(drawn, labels, units)
    return drawn


def _fold(labels: Labels, units: Units, share: float, seed: int) -> Units:
    """The fold whose size comes nearest to this share, or none of them: places (rows,)."""
    none = np.zeros(0, np.intp)
    most = np.unique(labels, return_counts=True)[1].max(initial=0)
    distinct = len(np.unique(units))
    folds = min(round(1 / share), distinct, int(most))
    if folds < 2:
        return none
    # The one that respects groups takes minutes for what has none.
    kind = StratifiedKFold if distinct == len(units) else StratifiedGroupKFold
    with warnings.catch_warnings():
        # Of a class with fewer rows than folds, which `_top_up` looks after.
        warnings.simplefilter("ignore", UserWarning)
        parts = kind(folds, shuffle=True, random_state=seed).split(labels, labels, units)
        tests = [none, *(test for _, test in parts)]
    return min(tests, key=lambda test: abs(len(test) - share * len(labels)))


def _top_up(drawn: Mask, labels: Labels, units: Units) -> None:
    """Draw further units, small ones first, of each class with fewer than LEAST rows drawn."""
    sizes = np.bincount(units)
    for label in np.unique(labels):
        of_class = labels == label
        others = np.unique(units[of_class & ~drawn])
        for unit in others[np.argsort(sizes[others], kind="stable")]:
            if (of_class & drawn).sum() >= LEAST:
                break
            drawn |= units == unit


def _require_enough(manifest: Manifest, units: Units, names: Iterable[str]) -> None:
    """Name each class that is in some split fewer than LEAST times, and what there is of it."""
    counts = Counter((row.split, row.label) for row in manifest.rows)
    short = [
        label
        for label in sorted({row.label for row in manifest.rows})
        if any(counts[name, label] < LEAST for name in names)
    ]
    if short:
        found = ", ".join(_amount(label, manifest, units) for label in short)
        needed = f"{LEAST} in each of {', '.join(names)}"
        raise ManifestError(f"{manifest.path}: too few examples for {needed}: {found}")


def _amount(label: str, manifest: Manifest, units: Units) -> str:
    own = [unit for row, unit in zip(manifest.rows, units, strict=True) if row.label == label]
    return f"{label!r} ({len(own)} examples, {len(set(own))} that may be parted)"
