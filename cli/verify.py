"""`sensemesh verify`: the digest of a folder of models, and whether it is the one meant."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("digest", required=False)
def verify(folder: Path, digest: str | None) -> None:
    """Print the digest of all files in FOLDER but the READMEs; fail where it is not DIGEST.

    FOLDER is a part of a model, whose digest is its version, a whole model, or a folder of several.
    """
    try:
        from mesh.artifact import version_of
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'sensemesh[node]'") from None
    found = version_of(folder)
    if digest is not None and found != digest:
        raise click.ClickException(f"{folder} is {found}, not {digest}")
    click.echo(found)
