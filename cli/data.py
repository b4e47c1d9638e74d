"""`sensemesh data`: check a manifest, show what is in it, or build one from public data."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.faults import told
from cli.progress import progress

if TYPE_CHECKING:  # What draws tables is imported when it is needed.
    from rich.console import RenderableType

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def data() -> None:
    """Check, describe and build the examples that a model is trained from."""


@data.command()
@click.argument("manifest", type=FILE)
@click.option("--labels", help="The classes, separated by commas.  [default: those that occur]")
@click.pass_context
def check(context: click.Context, manifest: Path, labels: str | None) -> None:
    """List everything in MANIFEST that training would stumble over.

    Every file is read as serving reads it. Where there is any defect the status is 1.
    """
    with told():
        from mesh.settings import InputLimits, load
        from training.check import defects
        from training.manifest import read_manifest

        known = [label.strip() for label in labels.split(",")] if labels else []
        limits, table = load(InputLimits), read_manifest(manifest)
        with progress("checking", len(table.rows)) as tell:
            found = defects(table, limits, known, progress=tell)
    if found:
        from cli.data_tables import defects_table

        _show(defects_table(found))
        context.exit(1)
    click.echo(f"{manifest}: {len(table.rows):,} rows, no defects")


@data.command()
@click.argument("manifest", type=FILE)
def stats(manifest: Path) -> None:
    """Show what MANIFEST holds: classes, splits, modalities, sizes, duplicates."""
    with told():
        from cli.data_tables import statistics_tables
        from training.manifest import read_manifest
        from training.stats import statistics

        table = read_manifest(manifest)
        with progress("counting", len(table.rows)) as tell:
            found = statistics(table, tell)
    _show(statistics_tables(found))


@data.group()
def build() -> None:
    """Make a manifest out of public data, with copies of the files that it names."""


@build.command()
@click.option("--from", "source", type=FOLDER, required=True, help="The folder of the three sets.")
@click.option("--to", "target", type=FOLDER, required=True, help="Where the manifest goes.")
def emotion6(source: Path, target: Path) -> None:
    """Texts of GoEmotions, faces of FER2013 and voices of EmoDB, in six classes."""
    with told():
        from cli.data_tables import built_table
        from training.build_emotion6 import build_emotion6

        with progress("building") as tell:
            built = build_emotion6(source, target, tell)
    _show(built_table(built))


@build.command()
@click.option(
    "--from", "source", type=FOLDER, help="The stamps.  [default: where Debian puts them]"
)
@click.option("--to", "target", type=FOLDER, required=True, help="Where the manifest goes.")
@click.option("--language", default="en", show_default=True, help="That of the captions.")
@click.option("--speech", default="fr", show_default=True, help="That of the spoken names.")
@click.option(
    "--min-per-class",
    "least",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Stamps that a class needs.",
)
def tuxpaint(source: Path | None, target: Path, language: str, speech: str, least: int) -> None:
    """The stamps of Tux Paint: pictures with a caption and a spoken name."""
    with told():
        from cli.data_tables import built_table
        from training.build_tuxpaint import STAMPS, build_tuxpaint

        with progress("building") as tell:
            built = build_tuxpaint(source or STAMPS, target, language, speech, least, tell)
    _show(built_table(built))


def _show(tables: "RenderableType") -> None:
    from rich.console import Console

    Console(highlight=False, markup=False, emoji=False).print(tables)
