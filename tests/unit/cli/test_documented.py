"""The commands that the documentation gives are ones that there are."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import pytest

from cli.__main__ import main
from training.config import read_config

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = (
    "README.md",
    "docs/data.md",
    "docs/development.md",
    "docs/training.md",
    "docs/tutorial.md",
    "models/emotion6/README.md",
    *sorted(str(file.relative_to(ROOT)) for file in (ROOT / "runs").glob("*.sh")),
)
# A line that begins with the command, in a page's block or a script; a backslash continues it.
COMMAND: Final = re.compile(r"^ *(?:\$ )?(?:\S*/)?sensemesh ((?:.*\\\n)*.*)$", re.MULTILINE)


def commands(page: str) -> Iterator[list[str]]:
    """The words after `sensemesh` of each line that runs it."""
    for found in COMMAND.finditer((ROOT / page).read_text(encoding="utf-8")):
        words = shlex.split(found[1].replace("\\\n", " "), comments=True)
        # What the shell takes: redirections and what follows.
        end = next((n for n, word in enumerate(words) if word[0] in "><|&"), len(words))
        yield words[:end]


def understood(words: Sequence[str]) -> None:
    """Read words as the command line reads them, but for what the values are.

    Raises UsageError for a command or an option that there is not, and for words too many or few.
    """
    command, rest = main, list(words)
    context = click.Context(main)
    while isinstance(command, click.Group):
        _, command, rest = command.resolve_command(context, rest)
        context = click.Context(command, parent=context)
    given, left, _ = command.make_parser(context).parse_args(rest)
    required = [p.name for p in command.params if isinstance(p, click.Argument) and p.required]
    if left or not all(isinstance(given.get(name), str) for name in required):
        raise click.UsageError(f"too many or too few words: {words}", context)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_gives_commands_that_there_are(page: str) -> None:
    """With options that they have."""
    for words in commands(page):
        understood(words)


@pytest.mark.parametrize("page", ["docs/training.md", "docs/tutorial.md", "runs/tuxpaint.sh"])
def test_a_page_has_commands(page: str) -> None:
    """Which the test above finds."""
    assert "train" in [words[0] for words in commands(page)]


@pytest.mark.parametrize(
    "line",
    ["fly", "train", "train a.toml b.toml", "train a.toml --fast", "data check", "up --port"],
)
def test_a_command_that_there_is_not_would_be_found(line: str) -> None:
    """By its name, its options or the number of its words."""
    with pytest.raises(click.UsageError):
        understood(line.split())


@pytest.mark.parametrize(
    "config", sorted((ROOT / "runs").glob("*.toml")), ids=lambda file: file.name
)
def test_the_configs_of_runs_can_be_read(config: Path) -> None:
    """Each is of the model that its file is named after."""
    assert read_config(config).name == config.stem


def test_the_config_that_is_shown_can_be_read(tmp_path: Path) -> None:
    """With each of its sections."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    shown = page.partition("```toml\n")[2].partition("```")[0]
    file = tmp_path / "mood.toml"
    file.write_text(shown, encoding="utf-8")
    assert read_config(file).modalities == ("text", "audio")
