"""What docs/tutorial.md tells a new user to do, on a few stamps: from files to an answer."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from click.testing import CliRunner

from cli.__main__ import main
from tests.running_mesh import RunningMesh
from tests.stamps import write_many_stamps
from training.config import read_config

RUNS: Final = Path(__file__).parents[2] / "runs"
# The first one that the tutorial trains, and the second.
FROZEN: Final = RUNS / "tuxpaint.toml"
TUNED: Final = RUNS / "tuxpaint_tuned.toml"
# Where the tutorial puts the manifest, as the config says it.
MANIFEST: Final = '"../run/tuxpaint/manifest.csv"'
STAMP: Final = "animals/wild/3"


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In a folder of the module's own, with one thread."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("user")
        patch.chdir(folder)
        patch.setenv("MESH_THREADS", "1")
        yield folder


def run(*args: str) -> str:
    """What a command of sensemesh prints."""
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def manifest(elsewhere: Path) -> Path:
    """Built of eight stamps of each of two classes."""
    stamps = write_many_stamps(elsewhere / "stamps", 8)
    run("data", "build", "tuxpaint", "--from", str(stamps), "--to", "data", "--min-per-class", "8")
    return elsewhere / "data" / "manifest.csv"


@pytest.fixture(scope="module")
def config(elsewhere: Path, manifest: Path) -> Path:
    """The tutorial's second, with the small manifest, one epoch and few steps."""
    text = TUNED.read_text(encoding="utf-8")
    assert MANIFEST in text
    text = re.sub(r"^epochs = .*$", "epochs = 1", text, flags=re.MULTILINE)
    text = text.replace("[fusion]\n", "[fusion]\nsteps = 50\n")
    file = elsewhere / TUNED.name
    file.write_text(text.replace(MANIFEST, json.dumps(str(manifest))), encoding="utf-8")
    read = read_config(file)
    assert read.image is not None
    assert read.image.fit is not None
    assert (read.image.fit.epochs, read.fusion.steps) == (1, 50)
    return file


@pytest.fixture(scope="module")
def model(config: Path) -> Path:
    """Trained."""
    said = run("train", str(config), "--output", "models/tuned")
    assert "sensemesh up --model models/tuned" in said
    return Path("models/tuned")


@pytest.fixture(scope="module")
def served(model: Path, elsewhere: Path) -> Iterator[str]:
    """Where the model is served."""
    up = [sys.executable, "-m", "cli", "up", "--model", str(model), "--port", "0"]
    with RunningMesh([*up, "--logs", str(elsewhere / "logs")], elsewhere / "logs") as mesh:
        found = re.search(r"http://\S+", mesh.until("The mesh serves"))
        assert found is not None
        yield found[0]


def test_the_second_config_differs_in_one_encoder() -> None:
    """So that the scores of both tell what its tuning is worth."""
    frozen, tuned = read_config(FROZEN), read_config(TUNED)
    assert frozen.image is not None
    assert tuned.image is not None
    assert {section.fit for section in frozen.encoders.values()} == {None}
    image = frozen.image.model_copy(update={"fit": tuned.image.fit})
    assert frozen.model_copy(update={"name": tuned.name, "image": image}) == tuned


def test_the_manifest_has_no_defects(manifest: Path) -> None:
    """And all its rows have all three modalities."""
    assert "16 rows, no defects" in run("data", "check", str(manifest))
    stats = " ".join(run("data", "stats", str(manifest)).split())
    assert "text + image + audio 16" in stats


def test_every_subset_of_the_modalities_is_scored(model: Path, manifest: Path) -> None:
    """In a report."""
    told = run("evaluate", str(model), str(manifest), "--robustness", "0")
    assert "text + image + audio" in told
    assert Path("run/evaluation/tuned/report.html").is_file()


def test_the_trained_model_answers_over_http(served: str, manifest: Path) -> None:
    """One of the stamps, with one of the classes."""
    data = manifest.parent
    media = [
        *("--image", str(data / "images" / f"{STAMP}.png")),
        *("--audio", str(data / "audio" / f"{STAMP}_desc_fr.ogg")),
    ]
    answer: dict[str, Any] = json.loads(
        run("predict", "--url", served, "--json", "--text", "3.", *media)
    )
    assert answer["model"]["name"] == "tuxpaint_tuned"
    assert answer["degraded"] is False
    assert set(answer["probabilities"]) == {"animals", "food"}
    assert np.isclose(sum(answer["probabilities"].values()), 1)
