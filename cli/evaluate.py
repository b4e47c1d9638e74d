"""`sensemesh evaluate`: what a model is worth on a manifest's split, as a table and a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.faults import told

if TYPE_CHECKING:  # What loads torch or draws tables is imported when it is needed.
    from rich.table import Table

    from mesh.classifying import Classifier
    from training.metrics import Scores

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Which rows are scored.")
@click.option("--out", type=FOLDER, help="Where the report goes.  [default: run/evaluation/MODEL]")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Examples of each class, where they are joined by class.",
)
@click.option(
    "--robustness",
    type=click.IntRange(min=0),
    default=300,
    show_default=True,
    help="Inputs of each modality that get worse; 0 for none.",
)
@click.option(
    "--cache",
    type=FOLDER,
    default=Path("run/embeddings"),
    show_default=True,
    help="Where embeddings are kept.",
)
@click.option(
    "--compare",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The config that trained MODEL: all fusion strategies are trained by it, and scored too.",
)
def evaluate(
    model: Path, manifest: Path, out: Path | None, compare: Path | None, **options: Any
) -> None:
    """Score the model in the folder MODEL on labelled examples.

    Every subset of its modalities, each alone on all of its inputs, and each as its inputs get
    worse. Writes report.html and report.json.
    """
    from rich.console import Console
    from rich.progress import Progress

    folder = out or Path("run/evaluation") / model.resolve().name
    screen = Console(stderr=True)
    with told():
        from training.evaluate import Options
        from training.evaluate import evaluate as run

        options["fusions"] = _compared(compare, model, options["cache"]) if compare else {}
        with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
            report = run(model, manifest, folder, Options(**options), progress.track)
    Console(highlight=False).print(_table(report.subsets))
    if report.note:
        click.echo(report.note)
    click.echo(f"The report is {folder / 'report.html'}")


def _compared(config: Path, model: Path, cache: Path) -> Mapping[str, "Classifier"]:
    from training.config import read_config
    from training.fusion import compared

    return compared(read_config(config), model, cache)


def _table(subsets: Mapping[str, "Scores"]) -> "Table":
    """The headline figures of every subset."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("modalities")
    for name in ("examples", "accuracy", "macro-F1", "95 % interval", "ECE"):
        table.add_column(name, justify="right")
    for subset, scores in subsets.items():
        f1 = scores.macro_f1
        figures = (
            f"{scores.accuracy.value:.3f}",
            f"{f1.value:.3f}",
            f"{f1.low:.3f} to {f1.high:.3f}",
        )
        table.add_row(
            subset.replace("+", " + "), str(scores.examples), *figures, f"{scores.ece.value:.3f}"
        )
    return table
