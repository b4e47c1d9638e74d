"""What an encoder learns from: which rows make a batch, and what is drawn for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mesh.embedding import Modality
from mesh.encoding import Item
from mesh.settings import InputLimits
from services.audio_encoder.preprocess import AudioConfig, AudioPreprocessor
from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor
from tests.fake_models import FakeEncoder
from tests.media import encoded, gradient, sound, tone
from tests.training_parts import text_row, text_rows
from training.batches import Examples, Plan, loader
from training.errors import TrainingError
from training.manifest import Row

LABELS = ("glad", "sad")
LIMITS = InputLimits()


@dataclass(frozen=True)
class Preprocessing:
    """As much of an encoder as examples need."""

    modality: Modality
    preprocess: Callable[[Any], Any]


def plan(rows: int, batch_size: int, seed: int = 0) -> Plan:
    """A plan over rows of random sizes."""
    return Plan(np.random.default_rng(1).random(rows), batch_size, seed)


def texts(rows: Sequence[Row], seed: int = 0) -> Examples:
    """Texts that would be augmented, if there were a way to."""
    return Examples(rows, LABELS, FakeEncoder(), seed, augments=True)


def media(folder: Path, modality: Modality, seed: int = 0, augments: bool = True) -> Examples:
    """Five times the same picture or sound."""
    file = folder / modality
    file.write_bytes(sound(tone(0.3)) if modality is Modality.AUDIO else encoded(gradient(), "PNG"))
    preprocess: Any = AudioPreprocessor(AudioConfig(), LIMITS.max_audio_bytes, 9)
    if modality is Modality.IMAGE:
        preprocess = ImagePreprocessor(ImageConfig(size=24), LIMITS.max_image_bytes, 10_000)
    rows = [Row(line, "sad", "train", "", {modality: file}, {}) for line in range(5)]
    encoder: Any = Preprocessing(modality, preprocess)
    return Examples(rows, LABELS, encoder, seed, augments)


def drawn(examples: Examples, epoch: int, row: int) -> np.ndarray:
    """The pixels or the spectrogram of a row in an epoch."""
    item: Any = examples[epoch, row][0]
    array: np.ndarray = item.mel if examples.encoder.modality is Modality.AUDIO else item.pixels
    return array


@pytest.fixture(params=[Modality.IMAGE, Modality.AUDIO])
def modality(request: pytest.FixtureRequest) -> Modality:
    """What can be augmented."""
    found: Modality = request.param
    return found


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    """Whatever was asked for in between."""
    one, other = plan(103, 10), plan(103, 10)
    other.epoch(7)

    assert [b.tolist() for b in one.epoch(3)] == [b.tolist() for b in other.epoch(3)]


def test_other_epochs_and_seeds_give_others() -> None:
    """Both in a batch's rows and in the batches' order."""
    first, *others = plan(103, 10).epoch(0), plan(103, 10).epoch(1), plan(103, 10, 1).epoch(0)

    for other in others:
        assert {frozenset(b.tolist()) for b in first} != {frozenset(b.tolist()) for b in other}


def test_every_row_is_learned_from_once_an_epoch_but_what_is_left_over() -> None:
    """All batches are whole, and there are as many as the plan says."""
    found = plan(103, 10)
    rows = np.concatenate(found.epoch(0))

    assert [len(batch) for batch in found.epoch(0)] == [10] * len(found) == [10] * 10
    assert len(np.unique(rows)) == len(rows) == 100


def test_what_is_left_over_is_learned_from_in_another_epoch() -> None:
    """It is not always the same."""
    found = plan(103, 10)
    left = [set(range(103)) - set(np.concatenate(found.epoch(n)).tolist()) for n in range(3)]

    assert all(len(rows) == 3 for rows in left)
    assert not set.intersection(*left)


def test_a_batch_has_like_sizes() -> None:
    """Padding costs time: a batch spans a tenth of what chance would let it."""
    found = plan(4000, 10)
    spread = np.mean([np.ptp(found.sizes[batch]) for batch in found.epoch(0)])

    assert spread < 0.1 * np.ptp(found.sizes[:10])


def test_batches_do_not_come_by_their_sizes() -> None:
    """A network that meets ever longer texts forgets the short ones."""
    found = plan(400, 10)
    sizes = [found.sizes[batch].mean() for batch in found.epoch(0)]

    assert 10 < np.sum(np.diff(sizes) > 0) < 30


def test_fewer_rows_than_a_batch_still_train() -> None:
    """As one batch of all."""
    found = plan(3, 10)

    (batch,) = found.epoch(0)
    assert sorted(batch.tolist()) == [0, 1, 2]
    assert len(found) == 1


def test_an_example_is_a_rows_item_and_its_class() -> None:
    """The class as a number of the labels' order."""
    examples = texts([text_row("a", "sad"), text_row("happy", "glad")])

    items = [examples[0, row] for row in range(2)]
    assert [(item.content, number) for item, number in items] == [("a", 1), ("happy", 0)]
    assert (len(examples), examples.classes.tolist()) == (2, [1, 0])


def test_sizes_are_the_items() -> None:
    """In the model's own unit."""
    assert texts([text_row("a"), text_row("happy")]).sizes().tolist() == [1, 5]


def test_no_picture_is_read_for_its_size(tmp_path: Path) -> None:
    """All cost the same."""
    examples = media(tmp_path, Modality.IMAGE)
    (tmp_path / Modality.IMAGE).unlink()

    assert len(set(examples.sizes().tolist())) == 1


def test_augmentation_depends_on_seed_epoch_and_row(tmp_path: Path, modality: Modality) -> None:
    """And on nothing else, such as what was drawn before."""
    first = drawn(media(tmp_path, modality), 2, 3)
    again = media(tmp_path, modality)
    drawn(again, 0, 0)
    torch.manual_seed(5)

    assert np.array_equal(drawn(again, 2, 3), first)
    for other in (
        drawn(again, 3, 3),
        drawn(again, 2, 4),
        drawn(media(tmp_path, modality, 1), 2, 3),
    ):
        assert other.shape != first.shape or not np.array_equal(other, first)


def test_augmentation_leaves_the_global_random_state(tmp_path: Path, modality: Modality) -> None:
    """Dropout draws from it, and a run that goes on must draw the same."""
    examples = media(tmp_path, modality)
    states = torch.get_rng_state(), np.random.get_state()[1]

    drawn(examples, 0, 0)

    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


def test_without_augmentation_an_input_is_as_in_serving(tmp_path: Path, modality: Modality) -> None:
    """In every epoch."""
    examples = media(tmp_path, modality, augments=False)
    served: Any = examples.encoder.preprocess((tmp_path / modality).read_bytes())
    expected = served.mel if modality is Modality.AUDIO else served.pixels

    for epoch in range(3):
        assert np.array_equal(drawn(examples, epoch, 0), expected)


def lengths(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    """The items' sizes, as a batch."""
    return {"sizes": torch.tensor([item.size for item in items])}


def test_batches_are_loaded_in_their_order() -> None:
    """Collated, with their classes."""
    examples = texts(text_rows(6))
    batches = [np.array([5, 0]), np.array([2])]

    loaded = list(loader(examples, batches, 0, lengths))

    sizes = [len(str(row.raw(Modality.TEXT))) for row in examples.rows]
    assert [b["sizes"].tolist() for b, _ in loaded] == [[sizes[5], sizes[0]], [sizes[2]]]
    assert [classes.tolist() for _, classes in loaded] == [[1, 0], [0]]


def test_loading_draws_nothing() -> None:
    """Else a run that goes on amid an epoch would have another dropout."""
    state = torch.get_rng_state()

    list(loader(texts(text_rows(6)), [np.arange(6)], 0, lengths))

    assert torch.equal(torch.get_rng_state(), state)


def test_a_file_that_is_gone_is_told_by_its_line(tmp_path: Path) -> None:
    """As is one that preprocessing refuses."""
    examples = media(tmp_path, Modality.IMAGE)
    (tmp_path / "image").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"line 3: image: .*none of JPEG"):
        examples[0, 3]
    (tmp_path / "image").unlink()
    with pytest.raises(TrainingError, match=r"line 4: image: .*No such file"):
        examples[0, 4]


def test_a_class_that_is_not_among_the_labels_is_told_by_its_line() -> None:
    """The config's labels may lack it."""
    rows = [*text_rows(2), text_row("x", label="odd", line=7)]
    with pytest.raises(TrainingError, match="line 7: 'odd' is none of glad, sad"):
        _ = texts(rows).classes


def test_processes_that_prepare_batches_ahead_change_nothing() -> None:
    """Each input's randomness is its own, whoever draws it."""
    examples = texts(text_rows(8))
    batches = plan(8, 4).epoch(0)

    def sizes(items: Sequence[Item]) -> dict[str, torch.Tensor]:
        return {"sizes": torch.tensor([item.size for item in items])}

    alone, ahead = ([*loader(examples, batches, 0, sizes, workers)] for workers in (0, 1))
    for (one, classes), (other, same) in zip(alone, ahead, strict=True):
        assert torch.equal(one["sizes"], other["sizes"])
        assert torch.equal(classes, same)
