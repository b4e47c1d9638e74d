"""What training an encoder is made of: classifier, class weights, optimiser, dev score, rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mesh.artifact import ArtifactError
from mesh.embedding import Modality
from mesh.encoding import Item
from services.text_encoder.preprocess import collate
from tests.fake_models import FakeEncoder
from tests.training_parts import rnn, text_row, text_rows
from training.artifacts import write_untrained
from training.batches import Examples, Plan
from training.config import EncoderConfig, Fit, TrainConfig
from training.errors import TrainingError
from training.manifest import Manifest, Row
from training.splits import held_out
from training.task import (
    Classifier,
    Task,
    class_weights,
    dev_score,
    load_trainable,
    optimizer_of,
    task_of,
)

LABELS = ("glad", "sad")
ROWS = text_rows(60)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An untrained text encoder."""
    folder = tmp_path / "text"
    write_untrained(folder, "tiny", Modality.TEXT, rnn(tmp_path), tmp_path)
    return folder


def network() -> nn.Module:
    """Two layers, the first of which is frozen, and a norm."""
    found = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    found[0].requires_grad_(False)
    return found


def lengths(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    """The items' sizes, as a batch."""
    return {"sizes": torch.tensor([item.size for item in items])}


def test_a_classifier_gives_a_logit_for_each_class(artifact: Path) -> None:
    """Over the encoder's own inputs."""
    encoder, network = load_trainable(artifact)
    classifier = Classifier(network, encoder.dim, 3, dropout=0.1)

    items = [encoder.preprocess(text) for text in ("a", "a sad café")]
    logits = classifier(**encoder.forward(items))

    assert logits.shape == (2, 3)


def test_only_training_feels_the_classifiers_dropout() -> None:
    """The network's own is the network's affair."""
    torch.manual_seed(0)
    classifier = Classifier(nn.Identity(), 4, 2, dropout=0.5)
    inputs = {"input": torch.randn(3, 4)}

    assert not torch.equal(classifier.train()(**inputs), classifier(**inputs))
    assert torch.equal(classifier.eval()(**inputs), classifier(**inputs))


def test_a_trainable_encoder_preprocesses_as_the_serving_one(artifact: Path) -> None:
    """Its `forward` gives the network's inputs, and all the network's weights can be trained."""
    encoder, network = load_trainable(artifact)
    items = [encoder.preprocess(text) for text in ("a", "a sad café")]

    inputs = encoder.forward(items)

    assert all(np.array_equal(inputs[name], array) for name, array in collate(items).items())
    assert all(weight.requires_grad for weight in network.parameters())
    assert encoder.dim == network.dim


def test_an_artifact_that_cannot_be_trained_is_named(artifact: Path) -> None:
    """As a node would name it."""
    (artifact / "tokenizer.json").write_text("{}")

    with pytest.raises(ArtifactError, match=r"tokenizer\.json has SHA-256"):
        load_trainable(artifact)


def test_classes_weigh_by_their_frequency_to_a_power() -> None:
    """0 leaves them as they are, 1 makes them equal; the mean over the examples is 1."""
    classes = np.array([0] * 9 + [1] * 3)

    assert class_weights(classes, 2, 0.0).tolist() == [1, 1]
    assert class_weights(classes, 2, 1.0).tolist() == pytest.approx([2 / 3, 2])
    # (3/4)^-1/2 = 2/sqrt(3) and (1/4)^-1/2 = 2, whose mean is (sqrt(3) + 1) / 2.
    scale = (3**0.5 + 1) / 2
    assert class_weights(classes, 2, 0.5).tolist() == pytest.approx(
        [2 / 3**0.5 / scale, 2 / scale], rel=1e-6
    )


def test_a_class_without_examples_has_a_finite_weight() -> None:
    """As if there were one."""
    weights = class_weights(np.array([0, 0, 2, 2]), 3, 1.0)

    assert weights.tolist() == pytest.approx([1, 2, 1])


def test_new_layers_learn_at_a_rate_of_their_own() -> None:
    """No norm and no bias decays, and what is frozen isn't given to the optimiser."""
    classifier = Classifier(network(), 4, 2, dropout=0.1)
    fit = Fit(learning_rate=0.1, head_learning_rate=0.2, weight_decay=0.3)

    groups = optimizer_of(classifier, fit).param_groups

    names = {weight: name for name, weight in classifier.named_parameters()}
    found = {(g["lr"], g["weight_decay"]): {names[w] for w in g["params"]} for g in groups}
    assert found == {
        (0.1, 0.3): {"network.1.weight"},
        (0.1, 0.0): {"network.1.bias", "network.2.weight", "network.2.bias"},
        (0.2, 0.3): {"head.1.weight"},
        (0.2, 0.0): {"head.1.bias", "norm.weight", "norm.bias"},
    }


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW")])
def test_the_optimiser_is_the_configs(name: str, kind: str) -> None:
    """Adam or AdamW."""
    fit = Fit.model_validate({"optimizer": name})

    assert type(optimizer_of(Classifier(network(), 4, 2, 0.1), fit)).__name__ == kind


class ByLength(nn.Module):
    """Takes texts of over three units for sad."""

    def forward(self, sizes: torch.Tensor) -> torch.Tensor:
        """(items,) -> (items, 2)."""
        assert not self.training
        return torch.stack([3.5 - sizes, sizes - 3.5], dim=1)


def test_the_dev_score_is_the_macro_f1() -> None:
    """Every class counts the same, however few its rows; more than a batch of them are scored."""
    texts = [("a", "glad"), ("a", "sad"), *[("aaaa", "sad")] * 3] * 50
    rows = [text_row(text, label) for text, label in texts]
    examples = Examples(rows, LABELS, FakeEncoder(), 0)
    task = Task(
        examples,
        examples,
        lengths,
        Plan(examples.sizes(), 8, 0),
        [np.arange(120), np.arange(120, 250)],
        workers=0,
    )

    score = dev_score(ByLength(), task, torch.device("cpu"))

    # Of what is taken for glad a half is; of what is sad three quarters are taken for it.
    assert score == pytest.approx((2 * 50 / (100 + 50) + 2 * 150 / (150 + 200)) / 2)


def config(hold_out: float = 0.0) -> TrainConfig:
    """A run of texts alone, of seed 3."""
    text = EncoderConfig(architecture="rnn", fit=Fit())
    return TrainConfig(name="x", manifest=Path("m.csv"), seed=3, hold_out=hold_out, text=text)


def manifest(rows: Sequence[Row]) -> Manifest:
    """Rows of a file."""
    return Manifest(Path("m.csv"), tuple(rows))


def test_a_task_is_made_of_the_rows_that_have_the_modality(artifact: Path) -> None:
    """Training's are augmented and less what is held out; dev's are as in serving."""
    encoder, _ = load_trainable(artifact)
    silent = [Row(99, "glad", split, "", {}, {}) for split in ("train", "dev")]
    rows = manifest([*ROWS, *silent, *text_rows(4, "dev"), *text_rows(8, "test")])

    task = task_of(rows, config(hold_out=0.1), LABELS, encoder, Fit(batch_size=9))

    hidden = held_out(rows.split("train"), 0.1, seed=3)
    assert list(task.train.rows) == [row for row in ROWS if row.line not in hidden]
    assert list(task.dev.rows) == text_rows(4, "dev")
    assert (task.train.augments, task.dev.augments) == (True, False)
    assert len(task.plan) == len(task.train) // 9
    assert task.plan.seed == task.train.seed == 3
    assert not task_of(rows, config(), LABELS, encoder, Fit(augment=False)).train.augments


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_without_the_modality_is_refused(artifact: Path, split: str) -> None:
    """By its name, with the file's."""
    encoder, _ = load_trainable(artifact)
    other = "dev" if split == "train" else "train"

    with pytest.raises(TrainingError, match=rf"m\.csv: no row of split {split} has text"):
        task_of(manifest(text_rows(4, other)), config(), LABELS, encoder, Fit())
