"""Evaluate a model on one split of a manifest, and write what was found.

Every subset of the modalities is scored, each modality alone on all that the split has of it, and
each alone on inputs that get worse. Embeddings come from the serving code, and are computed once.
`sensemesh evaluate` is the command.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mesh.artifact import sha256
from mesh.classifying import Classifier
from mesh.embedding import Modality
from training.curves import T, Track, curves
from training.errors import TrainingError
from training.golden import subsets
from training.joining import (
    SAID_OF_CLASS_JOINS,
    Column,
    Joined,
    by_class,
    by_row,
    column_of,
    draw,
    score_joined,
)
from training.manifest import Row
from training.metrics import Scores
from training.report import Report, write_report
from training.splits import read_with_splits
from training.trained import Model, load_model, vectors_of

Columns = Mapping[Modality, Column]


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    `per_class` examples of each class are drawn where they are joined by class, and inputs get
    worse for at most `robustness` of each modality, 0 for none. `cache` is a folder that keeps
    embeddings. `fusions` are other heads over the same embeddings, by the names of their
    strategies; they are scored on the same examples.
    """

    split: str = "test"
    per_class: int = 200
    robustness: int = 300
    cache: Path | None = None
    fusions: Mapping[str, Classifier] = field(default_factory=dict)


DEFAULTS: Final = Options()


def untracked(sequence: Sequence[T], *, description: str) -> Iterable[T]:
    """Tells nobody."""
    del description
    return sequence


def evaluate(
    model: Path,
    manifest: Path,
    out: Path,
    options: Options = DEFAULTS,
    track: Track = untracked,
) -> Report:
    """Score the model in a folder, and write report.json and report.html into the folder `out`.

    Raises TrainingError where manifest and model don't fit each other
    or an input can't be used, ArtifactError where the model can't be.
    """
    loaded = load_model(model)
    head = loaded.classifier
    rows = _rows(manifest, options.split, loaded)
    columns = {
        modality: column_of(rows, head.labels, *vectors_of(loaded, modality, rows, options.cache))
        for modality in track(loaded.modalities, description="embedding")
    }
    drawn = draw(columns, head.labels, options.per_class) if loaded.join == "class" else {}
    examples = _examples(columns, drawn)
    natural = {str(modality): by_row({modality: columns[modality]}) for modality in columns}
    report = Report(
        model=_model_facts(loaded),
        data=_data_facts(manifest, options.split, rows, columns),
        join=loaded.join,
        note=SAID_OF_CLASS_JOINS if drawn else "",
        drawn=_drawn_facts(rows, columns, drawn),
        subsets=_scores(head, columns, examples, track),
        natural=_scores(head, columns, natural, untracked),
        unscored=tuple(name for name, joined in examples.items() if not len(joined.labels)),
        robustness=curves(loaded, rows, columns, options.robustness, options.cache, track),
        fusions={
            name: _scores(other, columns, examples, untracked)
            for name, other in options.fusions.items()
        },
    )
    write_report(report, out)
    return report


def _rows(manifest: Path, split: str, model: Model) -> tuple[Row, ...]:
    """The split's rows, all of classes that the model knows; splits are as in its training."""
    labels = model.classifier.labels
    rows = read_with_splits(manifest, model.seed).split(split).rows
    if not rows:
        raise TrainingError(f"{manifest} has no rows of the split {split!r}")
    for row in rows:
        if row.label not in labels:
            known = ", ".join(labels)
            raise TrainingError(
                f"{manifest}, line {row.line}: the model knows no {row.label!r}, but {known}"
            )
    return rows


def _examples(columns: Columns, drawn: Mapping[Modality, Any]) -> dict[str, Joined]:
    """The examples of every choice of modalities but the empty one, the smallest first."""
    parts = {"+".join(subset): {m: columns[m] for m in subset} for subset in subsets(columns)}
    return {name: by_class(part, drawn) if drawn else by_row(part) for name, part in parts.items()}


def _scores(
    head: Classifier, columns: Columns, examples: Mapping[str, Joined], track: Track
) -> dict[str, Scores]:
    """What the head makes of each set of examples that is not empty."""
    names = [name for name, joined in examples.items() if len(joined.labels)]
    return {
        name: score_joined(head, columns, examples[name])
        for name in track(names, description="scoring")
    }


def _model_facts(model: Model) -> dict[str, Any]:
    head = model.classifier
    encoders = {
        str(modality): {"version": trained_on.version, "dim": trained_on.dim}
        for modality, trained_on in head.encoders.items()
    }
    return {
        "name": head.name,
        "version": head.version,
        "labels": list(head.labels),
        "encoders": encoders,
    }


def _data_facts(
    manifest: Path, split: str, rows: Sequence[Row], columns: Columns
) -> dict[str, Any]:
    return {
        "manifest": manifest.name,
        "sha256": sha256(manifest),
        "split": split,
        "rows": len(rows),
        "inputs": {str(modality): len(column.labels) for modality, column in columns.items()},
        "labels": dict(sorted(Counter(row.label for row in rows).items())),
    }


def _drawn_facts(
    rows: Sequence[Row], columns: Columns, drawn: Mapping[Modality, Any]
) -> dict[str, dict[str, int]]:
    """How many inputs and named groups there are in what was drawn, each counted once."""
    return {
        str(modality): _distinct([rows[place] for place in columns[modality].places[inputs]])
        for modality, inputs in drawn.items()
    }


def _distinct(rows: Sequence[Row]) -> dict[str, int]:
    groups = {row.group for row in rows} - {""}
    return {"inputs": len({row.line for row in rows}), "groups": len(groups)}
