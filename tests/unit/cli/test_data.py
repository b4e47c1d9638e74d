"""`sensemesh data`: what its subcommands print, and their status."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import main
from tests.stamps import write_stamps
from tests.training_data import write_data


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, ["data", *map(str, args)])
    return result.exit_code, result.output


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two rows of each of two classes in two splits."""
    lines = [
        f"{split} {label} {n},{label},{split}"
        for split in ("train", "dev")
        for label in ("joy", "anger")
        for n in range(2)
    ]
    file = tmp_path / "m.csv"
    file.write_text("\n".join(["text,label,split", *lines]))
    return file


def test_check_says_that_there_are_no_defects(manifest: Path) -> None:
    """In one line."""
    assert run("check", manifest) == (0, f"{manifest}: 8 rows, no defects\n")


def test_check_lists_defects_by_their_lines(manifest: Path) -> None:
    """With the column and what is wrong; the status is 1."""
    manifest.write_text(manifest.read_text() + "\n[red]x[/red],,tests\n")

    status, output = run("check", manifest)

    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert status == 1
    assert "10 label no label" in lines
    assert "10 split 'tests' is none of train, dev, test" in lines
    assert lines[-1] == "defects: 2"


def test_check_may_be_told_the_classes(manifest: Path) -> None:
    """Any other is a defect, and one that is missing has no line."""
    status, output = run("check", manifest, "--labels", "joy, fear")

    assert status == 1
    assert output.count("'anger' is none of joy, fear") == 4
    assert "too few examples of 'fear' in train: 0, where 2 are needed" in output


@pytest.mark.parametrize("command", ["check", "stats"])
def test_a_file_that_is_no_manifest_is_an_error(tmp_path: Path, command: str) -> None:
    """In one line, without a trace."""
    status, output = run(command, tmp_path / "m.csv")

    assert (status, output) == (1, f"Error: there is no file {tmp_path / 'm.csv'}\n")


def test_check_refuses_a_limit_that_can_not_be_used(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are those of serving, from the environment."""
    monkeypatch.setenv("MESH_MAX_TEXT_CHARS", "5")
    assert "the text has 11 characters, more than 5" in run("check", manifest)[1]
    monkeypatch.setenv("MESH_MAX_TEXT_CHARS", "none")
    assert run("check", manifest)[0] == 1


def test_stats_counts_classes_and_splits(manifest: Path) -> None:
    """In tables, with a column for each split."""
    lines = [f"{line}," for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(["text,label,split,group", *lines[1:], "more,,,anna"]))

    status, output = run("stats", manifest)

    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert status == 0
    assert lines[0] == "9 rows"
    assert "class train dev no split" in lines
    assert "joy 2 2 0" in lines
    assert "no label 0 0 1" in lines
    assert "groups 0 0 1" in lines
    assert "text, characters 11 13" in lines


def test_build_emotion6_tells_what_it_kept_and_left_out(tmp_path: Path) -> None:
    """And where the manifest is, which then has no defects."""
    source = write_data(tmp_path / "sets", train=4)
    labels = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
    (source / "goemotions" / "labels.txt").write_text("\n".join(labels))

    status, output = run("build", "emotion6", "--from", source, "--to", tmp_path / "built")

    assert status == 0
    assert "audio: boredom" in output
    assert f"The manifest is {tmp_path / 'built' / 'manifest.csv'}" in output.replace("\n", "")
    assert "no defects" in run("check", tmp_path / "built" / "manifest.csv")[1]


def test_build_tuxpaint_takes_its_options(tmp_path: Path) -> None:
    """The languages, and how large a class must be."""
    stamps = write_stamps(tmp_path / "stamps")
    options = ("--language", "de", "--speech", "en", "--min-per-class", "5")

    status, output = run(
        "build", "tuxpaint", "--from", stamps, "--to", tmp_path / "built", *options
    )

    assert (status, "in a class of fewer than 5" in output) == (0, True)
    text = (tmp_path / "built" / "manifest.csv").read_text()
    assert "Ein owl.,images/animals/wild/owl.png,audio/animals/wild/owl.wav,animals" in text


def test_what_is_not_installed_is_named(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "training.manifest", None)

    status, output = run("stats", manifest)

    assert status == 1
    assert "training.manifest" in output
    assert "pip install 'sensemesh[train]'" in output


def test_the_commands_help_needs_nothing_of_training() -> None:
    """It names the subcommands with what each is for."""
    status, output = run("--help")

    assert status == 0
    assert "check  List everything in MANIFEST" in output
    assert "build  Make a manifest" in output


def test_build_names_what_is_missing(tmp_path: Path) -> None:
    """Without a trace."""
    status, output = run("build", "emotion6", "--from", tmp_path, "--to", tmp_path / "built")

    assert status == 1
    assert "labels.txt can't be read: No such file or directory" in output
