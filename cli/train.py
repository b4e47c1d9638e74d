"""`sensemesh train`: from a config and its manifest to a model that the mesh serves."""

from pathlib import Path

import click

from cli.faults import told
from cli.progress import progress

FOLDER = click.Path(file_okay=False, path_type=Path)
PARTS = ("text", "image", "audio", "fusion")


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", type=FOLDER, help="Where the model goes.  [default: models/NAME]")
@click.option("--state", type=FOLDER, help="Checkpoints and logs.  [default: run/training/NAME]")
@click.option(
    "--cache",
    type=FOLDER,
    default=Path("run/embeddings"),
    show_default=True,
    help="Where embeddings are kept.",
)
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Only this part; may be repeated.  [default: all that CONFIG has]",
)
@click.option("--check/--no-check", default=True, help="Look for defects in the manifest first.")
def train(
    config: Path,
    output: Path | None,
    state: Path | None,
    cache: Path,
    parts: tuple[str, ...],
    check: bool,
) -> None:
    """Train each encoder and then fusion, as the file CONFIG says.

    Started again after it was killed, it goes on from the last checkpoint. TensorBoard shows the
    folder of --state.
    """
    with told():
        from training.config import read_config
        from training.encoder import train_encoder
        from training.fusion import train_fusion
        from training.golden import SAMPLES
        from training.ready import require_ready
        from training.splits import read_with_splits

        run = read_config(config)
        output = output or Path("models") / run.name
        state = state or Path("run/training") / run.name
        if unknown := [part for part in parts if part not in ("fusion", *run.encoders)]:
            raise click.UsageError(f"{config} has no [{unknown[0]}].")
        if check:
            _require_no_defects(run.manifest, run.labels or ())
        require_ready(run, read_with_splits(run.manifest, run.seed))
        for modality in run.encoders:
            if not parts or modality in parts:
                best = train_encoder(run, modality, config.parent, output, state)
                said = "as its base is" if best is None else f"macro-F1 on dev {best:.4f}"
                click.echo(f"{modality}: {said}")
        if not parts or "fusion" in parts:
            train_fusion(run, output, SAMPLES, cache)
            click.echo(f"sensemesh evaluate {output} {run.manifest}")
            click.echo(f"sensemesh up --model {output}")


def _require_no_defects(manifest: Path, labels: tuple[str, ...]) -> None:
    from mesh.settings import InputLimits, load
    from training.check import defects
    from training.manifest import read_manifest

    table = read_manifest(manifest)
    with progress("checking", len(table.rows)) as tell:
        found = defects(table, load(InputLimits), labels, progress=tell)
    if found:
        from rich.console import Console

        from cli.data_tables import defects_table

        Console(highlight=False, markup=False, emoji=False).print(defects_table(found))
        raise click.ClickException(f"{manifest} can't be trained from.")
