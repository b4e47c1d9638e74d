"""`sensemesh predict`: one request to a running gateway, and its answer as a small table."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import click

from cli.client import predict as ask
from cli.reply import PredictFailed


@click.command()
@click.option("--text", help="What was said.")
@click.option("--image", type=click.File("rb"), help="A picture: JPEG, PNG, WebP, GIF or BMP.")
@click.option("--audio", type=click.File("rb"), help="A recording: WAV, FLAC, OGG or MP3.")
@click.option("--explain", is_flag=True, help="Show what each modality adds to the class.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds to answer in."
)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The gateway.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as it is.")
def predict(as_json: bool, explain: bool, timeout: float | None, url: str, **inputs: Any) -> None:
    """Classify a text, an image and a recording, or any of them.

    A file named "-" is read from standard input.
    """
    fields = {name: _field(value) for name, value in inputs.items() if value is not None}
    if not fields:
        raise click.UsageError("Give at least one of --text, --image and --audio.")
    try:
        answer = asyncio.run(ask(url, fields, explain=explain, deadline=timeout))
    except PredictFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _show(answer)


def _field(value: str | BinaryIO) -> str | tuple[str, bytes]:
    if not isinstance(value, str):
        return getattr(value, "name", "-"), value.read()
    # Bytes of the command line that are no UTF-8 arrive as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise click.UsageError("--text is not UTF-8.")
    return value


def _show(answer: Mapping[str, Any]) -> None:
    from rich.console import Console

    from cli.answer import rendered

    Console(highlight=False, markup=False, emoji=False).print(rendered(answer))
