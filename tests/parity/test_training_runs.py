"""A training from its start to its end: killed and taken up again, shared, or ended early."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from tests.tiny_task import config_of, section_of, trained, write_config, write_task
from training.checkpoint import Checkpoint
from training.config import ConfigError
from training.encoder import train_encoder
from training.errors import TrainingError

ROOT: Final = Path(__file__).parents[2]
# Seconds. A process has to import torch on a busy machine.
PATIENCE: Final = 90.0
# Everything that a checkpoint has to keep: random dropout and sounds, statistics, an average.
LONG: Final[dict[str, Any]] = {
    "epochs": 15, "patience": 15, "batch_size": 4, "accumulate": 2, "average": 0.9,
    "learning_rate": 3e-3, "dropout": 0.3, "checkpoint_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums have the same order here and in other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """The tiny task's folder."""
    return write_task(tmp_path / "task").parent


def started(how: Sequence[str], config: Path, modality: str, output: Path) -> subprocess.Popen[str]:
    """A process that trains `modality` into `output`, on one thread."""
    argv = [*how, "training.encoder", str(config), modality]
    argv += ["--output", str(output), "--state", str(output / "state")]
    return subprocess.Popen(
        [sys.executable, "-m", *argv],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> str:
    """What a process said until its end, which is a good one."""
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def kill_after_checkpoints(process: subprocess.Popen[str], checkpoints: Path) -> None:
    """Kill a process that has begun its third checkpoint or a later one."""
    deadline = time.monotonic() + PATIENCE
    while not (checkpoints / "old").exists() or not (checkpoints / "new").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoints"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_run_ends_as_if_it_had_not_been(task: Path, tmp_path: Path) -> None:
    """On one CPU in float32: with the very same weights, of an encoder and of its score on dev."""
    entries = {"audio": section_of("crnn", **LONG)}
    entries["audio"]["model"] |= {"dropout": 0.1}
    config = write_config(task, **entries)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = started([], config, "audio", killed)
    kill_after_checkpoints(process, killed / "state" / "audio" / "checkpoint")
    assert not (killed / "audio").exists()
    said = said_by(started([], config, "audio", killed))
    found = re.search(r"goes on from epoch (\d+), batch (\d+)", said)
    assert found
    assert found.groups() != ("1", "0")
    best = train_encoder(config_of(task, **entries), Modality.AUDIO, task, whole, whole / "state")
    assert f"best on dev: {best:.4f}" in said
    assert version(killed) == version(whole)
    one, other = (folder / "audio" / "model.safetensors" for folder in (killed, whole))
    assert one.read_bytes() == other.read_bytes()


def test_blended_pictures_are_the_same_after_a_kill(task: Path, tmp_path: Path) -> None:
    """How two are blended is drawn from what a checkpoint keeps; without it they are others."""
    entries = {"image": section_of("vit", **LONG, mixup=0.5)}
    config = write_config(task, **entries)
    process = started([], config, "image", tmp_path / "killed")
    kill_after_checkpoints(process, tmp_path / "killed" / "state" / "image" / "checkpoint")
    assert "goes on from" in said_by(started([], config, "image", tmp_path / "killed"))
    files = [tmp_path / "killed" / "image" / "model.safetensors"]
    for name, mixup in (("whole", 0.5), ("plain", 0.0)):
        entries["image"]["fit"]["mixup"] = mixup
        output = tmp_path / name
        train_encoder(config_of(task, **entries), Modality.IMAGE, task, output, output / "state")
        files.append(output / "image" / "model.safetensors")
    killed, whole, plain = (file.read_bytes() for file in files)
    assert killed == whole != plain


def version(folder: Path) -> str:
    """Of the artifact of sounds."""
    return Artifact.open(folder / "audio").version


def test_a_finished_run_is_not_trained_again(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Started once more it writes the same artifact, and says the same score."""
    first, best = trained(task, "rnn", tmp_path)
    capsys.readouterr()
    again, same = trained(task, "rnn", tmp_path)
    assert (again.version, same) == (first.version, best)
    assert capsys.readouterr().out == "goes on from epoch 3, batch 0\n"


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 3e-3}, {"seed": 1}, {"mark": None}, {"text": "other words"}],
    ids=["fit", "seed", "mark", "content"],
)
def test_checkpoints_of_another_run_are_not_taken_up(
    change: dict[str, Any], task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor those of nobody: it begins anew, and ends as in a folder of its own."""
    trained(task, "rnn", tmp_path / "used")
    if "mark" in change:
        (tmp_path / "used" / "state" / "text" / "checkpoint" / "run").unlink()
    if "text" in change:
        manifest = task / "manifest.csv"
        manifest.write_text(manifest.read_text().replace("glad is train 3", change["text"]))
    seed = change.get("seed", 0)
    fit = {name: value for name, value in change.items() if name == "learning_rate"}
    config = config_of(task, seed=seed, text=section_of("rnn", **fit))
    capsys.readouterr()
    for folder in ("used", "fresh"):
        output = tmp_path / folder
        train_encoder(config, Modality.TEXT, task, output, output / "state")
    assert "goes on" not in capsys.readouterr().out
    used, fresh = (Artifact.open(tmp_path / name / "text") for name in ("used", "fresh"))
    assert used.version == fresh.version


def test_a_config_that_can_not_be_used_leaves_a_finished_artifact(
    task: Path, tmp_path: Path
) -> None:
    """It is replaced by another finished one, and by nothing else."""
    first, _ = trained(task, "rnn", tmp_path)
    section = section_of("rnn")
    section["model"] = section["model"] | {"hidden_siz": 3}
    with pytest.raises(ConfigError, match=r"text\.model: .*hidden_siz"):
        train_encoder(
            config_of(task, text=section), Modality.TEXT, task, tmp_path, tmp_path / "state"
        )
    assert Artifact.open(tmp_path / "text").version == first.version


@pytest.mark.parametrize("accumulate", [1, 3])
def test_checkpoints_are_as_frequent_as_told(
    accumulate: int, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several batches make a step: at the next step then."""
    saved = []
    monkeypatch.setattr(Checkpoint, "save", lambda checkpoint: saved.append(checkpoint))
    fit = {"epochs": 1, "batch_size": 2, "checkpoint_steps": 2, "accumulate": accumulate}
    trained(task, "rnn", tmp_path, **fit)
    # Eight batches: after each second, or after each third one; and at the epoch's end.
    assert len(saved) == {1: 4, 3: 3}[accumulate] + 1


def test_two_processes_reach_the_score_of_one(task: Path, tmp_path: Path) -> None:
    """Each takes half of every batch, and their gradients' mean is the batch's.

    Nothing is random but the first weights, and no batch norm sees its own half only: so the
    weights are those of one process but for rounding, and the score is the same.
    """
    fit = {"dropout": 0.0, "learning_rate": 3e-2, "epochs": 4}
    config = write_config(task, text=section_of("rnn", **fit))
    launch = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    process = started([*launch, "--nproc-per-node=2", "-m"], config, "text", tmp_path / "two")
    said = said_by(process)
    one, best = trained(task, "rnn", tmp_path / "one", **fit)
    assert best == 1.0
    assert said.count(f"best on dev: {best:.4f}") == 1
    two = Artifact.open(tmp_path / "two" / "text")
    assert two.config == one.config
    others = two.weights()
    for name, weight in one.weights().items():
        assert torch.allclose(weight, others[name], atol=5e-3), name


@pytest.mark.parametrize("patience", [1, 3])
def test_it_ends_when_dev_gets_no_better(
    patience: int, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After so many epochs without a better score, and with the weights of the best one."""
    still = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "dropout": 0.0}
    first, _ = trained(task, "rnn", tmp_path / "first", epochs=1, **still)
    capsys.readouterr()
    last, _ = trained(task, "rnn", tmp_path / "last", epochs=9, patience=patience, **still)
    epochs = re.findall(r"epoch (\d): loss", capsys.readouterr().out)
    assert [int(epoch) for epoch in epochs] == list(range(1, patience + 2))
    assert all(torch.equal(w, last.weights()[name]) for name, w in first.weights().items())


def test_a_file_that_is_gone_is_told_by_its_line(task: Path, tmp_path: Path) -> None:
    """Also of pictures, which are not read to be put into batches."""
    (task / "train-0-sad.png").unlink()
    with pytest.raises(TrainingError, match=r"line \d+: .*train-0-sad\.png can't be read"):
        trained(task, "vit", tmp_path)
