"""Which encoders a model needs and which it brings, as its folder says. Plain JSON, no torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.topology import ENCODER_OF


def modalities_of(model: Path) -> list[str]:
    """The modalities that a model takes, in the order of ENCODER_OF.

    ClickException where its fusion/config.json does not name one at least.
    """
    file = model / "fusion" / "config.json"
    named = _encoders_in(file)
    taken = [modality for modality in ENCODER_OF if modality in named]
    if not taken:
        raise click.ClickException(f"{file} names no encoder that there is.")
    return taken


def encoder_folders(models: Sequence[Path]) -> dict[str, Path | None]:
    """For each modality that some of `models` take, the first of these that brings its encoder.

    None where there is no such folder: the embeddings come from an encoder of the user's own.
    """
    folders: dict[str, Path | None] = {}
    for model in models:
        for modality in modalities_of(model):
            brought = model if (model / modality).is_dir() else None
            folders[modality] = folders.get(modality) or brought
    return folders


def _encoders_in(file: Path) -> dict[str, Any]:
    try:
        encoders = json.loads(file.read_text(encoding="utf-8"))["encoders"]
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}.") from None
    except (ValueError, LookupError, TypeError):
        encoders = None
    if not isinstance(encoders, dict):
        raise click.ClickException(f"{file} is no model's: it has no object `encoders`.")
    return encoders
