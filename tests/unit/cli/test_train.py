"""`sensemesh train` on the tiny task: all parts or some, and what is wrong in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.train import train
from mesh.artifact import Artifact
from tests.tiny_task import FEATURES, LABELS, section_of, write_config, write_task

QUICK = {"steps": 4, "batch_size": 4}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of the test's own, with one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESH_THREADS", "1")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """The tiny task's folder."""
    return write_task(tmp_path / "task").parent


def config_of(task: Path, **entries: Any) -> Path:
    """A text encoder that stays as its base is, features of pictures and a quick head."""
    text = section_of("bert")
    del text["fit"]
    defaults = {"text": text, "features": {"image": FEATURES}, "fusion": QUICK}
    return write_config(task, **defaults | entries)


def run(*args: object) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner().invoke(train, [str(arg) for arg in args])
    return result.exit_code, result.output


def test_a_model_is_made_and_what_to_do_with_it_told(task: Path) -> None:
    """In a folder by its name, unless told."""
    status, output = run(config_of(task))
    assert status == 0, output
    assert output.splitlines() == [
        "text: as its base is",
        f"sensemesh evaluate models/tiny {task / 'manifest.csv'}",
        "sensemesh up --model models/tiny",
    ]
    fusion = Artifact.open(Path("models/tiny/fusion"))
    assert fusion.config["labels"] == list(LABELS)
    assert fusion.config["encoders"]["text"]["version"] == Artifact.open(
        Path("models/tiny/text")
    ).version  # fmt: skip
    assert sorted(Path("run/embeddings").iterdir())


def test_where_everything_goes_can_be_told(task: Path, tmp_path: Path) -> None:
    """Model, checkpoints and kept embeddings, by options."""
    config = config_of(task, text=section_of("rnn", epochs=1))
    places = ("--output", "made", "--state", "going", "--cache", "kept")
    status, output = run(config, *places)
    assert status == 0, output
    assert "text: macro-F1 on dev " in output
    assert Path("made/fusion/model.safetensors").is_file()
    assert Path("going/text/checkpoint/latest").is_dir()
    assert list(Path("kept").glob("text-*.npy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["going", "kept", "made", "task"]


def test_parts_are_trained_one_by_one(task: Path) -> None:
    """An encoder without a head, then the head on it; each says what is next when it is known."""
    config = config_of(task)
    assert run(config, "--part", "text") == (0, "text: as its base is\n")
    assert sorted(path.name for path in Path("models/tiny").iterdir()) == ["text"]
    status, output = run(config, "--part", "fusion", "--no-check")
    assert (status, output.splitlines()[-1]) == (0, "sensemesh up --model models/tiny")
    assert Path("models/tiny/fusion/config.json").is_file()


def test_defects_stop_it_before_anything_is_trained(task: Path) -> None:
    """All of them are listed."""
    (task / "dev-0-sad.wav").write_bytes(b"no sound")
    manifest = task / "manifest.csv"
    status, output = run(config_of(task))
    assert (status, output.splitlines()[-1]) == (1, f"Error: {manifest} can't be trained from.")
    assert "none of WAV" in output
    assert "defects: 1" in output
    assert not Path("models").exists()


def test_defects_can_be_passed_over(task: Path) -> None:
    """A sound that nothing reads does no harm."""
    (task / "dev-0-sad.wav").write_bytes(b"no sound")
    assert run(config_of(task), "--no-check")[0] == 0


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"manifest": "none.csv"}, "there is no file"),
        ({"seeds": 1}, "seeds: Extra inputs are not permitted"),
        ({"text": section_of("bert") | {"architecture": "ngram"}}, "'ngram' is none of bert"),
        ({"text": section_of("rnn", precision="fp16")}, "fp16 needs a CUDA device"),
        ({"fusion": {"model": {"depth": 3}}}, "depth"),
        ({"features": {"image": FEATURES | {"dim": 4}}}, "does not hold 4 finite numbers"),
    ],
)
def test_what_can_not_be_used_is_one_line(
    task: Path, entries: dict[str, Any], message: str
) -> None:
    """Of the config or of the manifest."""
    status, output = run(config_of(task, **entries))
    *before, last = output.splitlines()
    assert (status, last.startswith("Error: ")) == (1, True), output
    assert message in last
    assert before == []  # Nothing was trained.


def test_a_part_that_there_is_not_is_a_mistake_of_usage(task: Path) -> None:
    """Also one that this config has no encoder for, and a config that there is not."""
    assert run(config_of(task), "--part", "smell")[0] == 2
    assert run(config_of(task), "--part", "image")[0] == 2
    assert run("none.toml")[0] == 2


def test_the_recipe_is_kept_in_the_artifacts(task: Path) -> None:
    """With how many rows were learned from."""
    run(config_of(task, seed=3))
    config = json.loads(Path("models/tiny/fusion/config.json").read_text(encoding="utf-8"))
    assert config["data"] == {"text": 16, "image": 16, "seed": 3}
    assert config["training"]["steps"] == QUICK["steps"]
