"""Encoders of every family trained for a few steps, in every way, and loaded as serving loads."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mesh.artifact import Artifact
from mesh.embedding import Modality
from services.text_encoder.bert import read_bert
from tests.tiny_task import (
    FAMILIES,
    LABELS,
    ROWS,
    config_of,
    section_of,
    served,
    trained,
    write_task,
)
from training.config import ConfigError
from training.encoder import train_encoder
from training.errors import TrainingError
from training.fusion import trials_of
from training.manifest import read_manifest
from training.run import BEST
from training.task import load_trainable, task_of

EXAMPLES = sum(ROWS.values()) * len(LABELS)
BASE = "package:tiny_base/bert.safetensors"
RATES = {"gpt": 3e-3, "rnn": 3e-2}
# What each way changes of a BERT, by patterns over its weights.
WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "all": ({}, ["*"]),
    "one layer": ({"trainable": ["layers.1.*"]}, ["layers.1.*"]),
    "lora": (
        {"lora": {"rank": 2, "dropout": 0.1}},
        ["*.attention.qkv.weight", "*.attention.out.weight", "*.mlp.*.weight"],
    ),
    "lora and norms": (
        {"lora": {"targets": ["*.attention.qkv"]}, "trainable": ["*_norm.*"]},
        ["*.attention.qkv.weight", "*_norm.*"],
    ),
    "bf16": ({"precision": "bf16"}, ["*"]),
    "bf16 lora": (
        {"precision": "bf16", "average": 0.9, "lora": {"targets": ["*.mlp.2"]}},
        ["*.mlp.2.weight"],
    ),
    "accumulated": ({"accumulate": 3}, ["*"]),
    "averaged": ({"average": 0.9}, ["*"]),
    "smoothed and weighted": ({"label_smoothing": 0.1, "class_balance": 1.0}, ["*"]),
    "adam": ({"optimizer": "adam", "weight_decay": 0.0}, ["*"]),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny task's folder."""
    return write_task(tmp_path_factory.mktemp("task")).parent


@pytest.fixture(scope="module")
def base(task: Path) -> Iterator[dict[str, torch.Tensor]]:
    """The weights of a tiny published BERT, which an installed package holds."""
    (task / "tiny_base").mkdir()
    (task / "bert.safetensors").rename(task / "tiny_base" / "bert.safetensors")
    (task / "tiny_base" / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(task)
        yield read_bert(task / "tiny_base" / "bert.safetensors")


def best_in_training(artifact: Artifact, task: Path) -> np.ndarray:
    """The manifest's embeddings by the weights of the best epoch, along the path of training."""
    encoder, network = load_trainable(artifact.path)
    modality = encoder.modality
    network.load_state_dict(load_file(artifact.path.parent / "state" / modality / BEST))
    rows = read_manifest(task / "manifest.csv").rows
    items = [encoder.preprocess(row.raw(modality)) for row in rows]
    with torch.no_grad():
        vectors: np.ndarray = network.eval()(**encoder.forward(items)).numpy()
    return vectors


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_trained_and_serves(family: str, task: Path, tmp_path: Path) -> None:
    """Serving makes the same of every input as the training did whose best epoch it holds."""
    artifact, best = trained(task, family, tmp_path)
    vectors, seen = served(artifact, task / "manifest.csv"), best_in_training(artifact, task)
    assert 0 < best <= 1
    assert vectors.shape == (EXAMPLES, seen.shape[1])
    assert len(np.unique(vectors, axis=0)) > len(LABELS)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(seen, axis=1)
    assert ((vectors * seen).sum(1) / lengths).min() > 0.9999  # Stored in half precision.
    assert artifact.config["data"] == {
        "train": len(LABELS) * ROWS["train"], "dev": len(LABELS) * ROWS["dev"], "seed": 0
    }  # fmt: skip


@pytest.mark.parametrize("family", ["gpt", "rnn", "vit", "whisper", "crnn", "tcn"])
def test_what_can_be_learned_in_a_few_steps_is(
    family: str, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss falls, and dev is told apart without a fault."""
    fit = {"epochs": 6, "patience": 6, "learning_rate": RATES.get(family, 1e-2), "dropout": 0.0}
    _, best = trained(task, family, tmp_path, **fit)
    losses = [float(loss) for loss in re.findall(r"loss (\d\.\d+)", capsys.readouterr().out)]
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]
    assert best == 1.0


def test_an_encoder_without_fit_is_its_base(task: Path, base: Any, tmp_path: Path) -> None:
    """Nothing is trained and no weight is stored."""
    section = section_of("bert") | {"base": BASE}
    del section["fit"]
    config = config_of(task, text=section)
    assert train_encoder(config, Modality.TEXT, task, tmp_path, tmp_path / "state") is None
    artifact = Artifact.open(tmp_path / "text")
    assert artifact.weights() == {}
    assert served(artifact, task / "manifest.csv").shape == (EXAMPLES, 16)


@pytest.mark.parametrize("way", WAYS)
def test_exactly_what_was_trained_is_stored(
    way: str, task: Path, base: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """In half precision; the rest stays as the base has it, and together they serve."""
    fit, patterns = WAYS[way]
    artifact = bert(task, tmp_path, **fit)
    expected = {name for name in base if any(fnmatchcase(name, p) for p in patterns)}
    stored = artifact.weights()
    assert set(stored) == expected
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert np.isfinite(served(artifact, task / "manifest.csv")).all()


def bert(task: Path, folder: Path, **fit: Any) -> Artifact:
    """The artifact of a BERT trained from the package's base."""
    section = section_of("bert", **fit) | {"base": BASE}
    train_encoder(config_of(task, text=section), Modality.TEXT, task, folder, folder / "state")
    return Artifact.open(folder / "text")


def test_a_pattern_that_matches_nothing_is_named(task: Path, base: Any, tmp_path: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(ConfigError, match=r"'layers\.9\.\*' matches no weight, such as 'embed"):
        bert(task, tmp_path, trainable=["layers.9.*"])


def test_half_precision_learns_nearly_the_same(task: Path, base: Any, tmp_path: Path) -> None:
    """And not the very same, or it would not have been used."""
    whole, half = (
        bert(task, tmp_path / precision, precision=precision, learning_rate=1e-4, dropout=0.0)
        for precision in ("fp32", "bf16")
    )
    pairs = [(weight, half.weights()[name]) for name, weight in whole.weights().items()]
    assert all(torch.allclose(one, other, atol=2e-3) for one, other in pairs)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_accumulated_batches_are_as_one(task: Path, tmp_path: Path) -> None:
    """Two halves of all rows give the update that all rows give at once."""
    whole, halves = (
        trained(task, "rnn", tmp_path / str(size), batch_size=size, accumulate=16 // size, **PLAIN)
        for size in (16, 8)
    )
    for name, weight in whole[0].weights().items():
        assert torch.allclose(weight, halves[0].weights()[name], atol=1e-3), name


# Nothing random but the first weights, and steps that don't blow up what differs by rounding.
PLAIN: dict[str, Any] = {"dropout": 0.0, "learning_rate": 1e-3}


def test_the_moving_average_follows_the_weights(task: Path, base: Any, tmp_path: Path) -> None:
    """It has come part of the way that they have."""
    far, near = (
        sum(float((weight.float() - base[name]).norm()) for name, weight in one.weights().items())
        for one in (bert(task, tmp_path / str(a), epochs=1, average=a) for a in (0.0, 0.99))
    )
    assert 0 < near < far


def test_rows_that_an_encoder_holds_out_are_fusions(task: Path, tmp_path: Path) -> None:
    """Each training row is one's or the other's, and of either class."""
    config = config_of(task, text=section_of("rnn", epochs=1), hold_out=0.25)
    train_encoder(config, Modality.TEXT, task, tmp_path, tmp_path / "state")
    manifest = read_manifest(task / "manifest.csv")
    encoder, _ = load_trainable(tmp_path / "text")
    assert config.text is not None
    assert config.text.fit is not None
    learned = task_of(manifest, config, LABELS, encoder, config.text.fit).train.rows
    held_out = trials_of(config, tmp_path, tmp_path / "cache").train[Modality.TEXT]
    train = manifest.split("train").rows
    lines = [train[place].line for place in held_out.places]
    assert sorted([*lines, *(row.line for row in learned)]) == [row.line for row in train]
    assert sorted(held_out.labels) == [0, 0, 1, 1]
    assert Artifact.open(tmp_path / "text").config["data"]["train"] == len(train) - len(lines)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"precision": "fp16"}, "fit.precision: fp16 needs a CUDA device; bf16 and fp32 don't"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 can be used")
def test_settings_that_can_not_be_used_are_named(
    fit: dict[str, Any], message: str, task: Path, tmp_path: Path
) -> None:
    """In one line, by their names."""
    with pytest.raises(TrainingError, match=message) as told:
        trained(task, "rnn", tmp_path, **fit)
    assert "\n" not in str(told.value)
