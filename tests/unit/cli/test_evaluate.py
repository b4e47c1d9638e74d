"""`sensemesh evaluate` on a model of features alone, which needs no encoder."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.evaluate import evaluate
from tests.trained_model import write_manifest, write_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of the test's own, with one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESH_THREADS", "1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A head over the features of pictures."""
    return write_model(tmp_path / "models" / "tiny", modalities=("image",))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four pictures' features, and two texts that the model does not read."""
    return write_manifest(tmp_path)


def run(*args: object) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner().invoke(evaluate, [str(arg) for arg in args])
    return result.exit_code, result.output


def test_the_subsets_are_told_and_the_report_is_named(model: Path, manifest: Path) -> None:
    """In a folder by the model's name, unless told."""
    status, output = run(model, manifest)
    folder = Path("run/evaluation/tiny")
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))["subsets"]["image"]
    assert status == 0
    assert "modalities   examples   accuracy   macro-F1    95 % interval     ECE" in output
    figures = [found["accuracy"]["value"], found["macro_f1"]["value"], found["ece"]["value"]]
    assert all(f"{figure:.3f}" in output for figure in figures)
    assert f"The report is {folder / 'report.html'}" in output


def test_where_and_of_what_the_report_is_can_be_told(model: Path, manifest: Path) -> None:
    """By options."""
    status, _ = run(model, manifest, "--split", "test", "--out", "here", "--cache", "kept")
    assert (status, Path("here/report.html").is_file()) == (0, True)


def test_examples_that_were_joined_by_class_are_told_of(tmp_path: Path, manifest: Path) -> None:
    """Under the table whose figures that flatters."""
    model = write_model(tmp_path / "joined", join="class", modalities=("image",))
    status, output = run(model, manifest, "--per-class", 7)
    assert (status, " 14 " in output, "flatters fusion" in output) == (0, True, True)


def test_what_is_wrong_is_one_line(model: Path, manifest: Path) -> None:
    """Of the manifest or of the model."""
    status, output = run(model, manifest, "--split", "dev")
    assert (status, output) == (1, f"Error: {manifest} has no rows of the split 'dev'\n")
    (model / "fusion" / "config.json").unlink()
    status, output = run(model, manifest)
    assert (status, output.startswith("Error: "), output.count("\n")) == (1, True, 1)


@pytest.mark.parametrize("option", [("--per-class", 0), ("--robustness", -1)])
def test_senseless_numbers_are_mistakes_of_usage(
    model: Path, manifest: Path, option: tuple[str, int]
) -> None:
    """Before anything is loaded."""
    assert run(model, manifest, *option)[0] == 2
