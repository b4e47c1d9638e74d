"""The CRNN."""

from pathlib import Path

import pytest
import torch

from services.audio_encoder.crnn import Block
from services.audio_encoder.model import ARCHITECTURES
from services.audio_encoder.pooling import until
from tests.encoder_artifacts import seeded
from tests.unit.services.audio_encoder.networks import (
    LENGTHS,
    RAGGED,
    batch,
    encode,
    network,
    noise,
)


@pytest.mark.parametrize("frames", LENGTHS)
def test_a_block_halves_bands_and_frames(frames: int) -> None:
    """Rounded up, so that nothing is lost, and one of them stays one."""
    block = seeded(Block(1, 4))
    x = torch.randn(1, 1, frames, 5, generator=torch.Generator().manual_seed(0))

    assert block(x, until(torch.tensor([frames]), frames)).shape == (1, 4, (frames + 1) // 2, 3)


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_the_gru_reads_each_started_step(frames: int, steps: int) -> None:
    """Two blocks make a step of four frames."""
    crnn, read = network("crnn"), []
    crnn.get_submodule("gru").register_forward_pre_hook(lambda _, packed: read.append(packed[0]))
    encode(crnn, noise(frames))

    assert len(read[0].batch_sizes) == steps


def test_padding_has_no_part_in_the_batchs_statistics() -> None:
    """Training on a batch with more of it gives the same embeddings and the same statistics."""
    tight, loose = network("crnn").train(), network("crnn").train()
    inputs = batch(*RAGGED)
    expected = tight(**inputs)
    found = loose(torch.nn.functional.pad(inputs["mel"], (0, 200)), inputs["frames"])

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    for name, value in loose.state_dict().items():
        torch.testing.assert_close(value, tight.state_dict()[name], rtol=0, atol=1e-4, msg=name)


def test_training_moves_the_statistics_that_serve() -> None:
    """Eval mode uses what training saw, not the batch at hand."""
    crnn = network("crnn")
    before = encode(crnn, noise(50))
    crnn.train()(**batch(*RAGGED))

    assert not torch.equal(encode(crnn.eval(), noise(50)), before)


def test_either_pooling_gives_mean_and_deviation_of_both_directions() -> None:
    """Attention changes what counts, not the embedding's length."""
    plain, attentive = network("crnn"), network("crnn", attention=True)
    attentive.load_state_dict(plain.state_dict(), strict=False)

    assert plain.dim == attentive.dim == 2 * 2 * 8
    assert (encode(plain, noise(50)) - encode(attentive, noise(50))).abs().max() > 1e-3


def test_attention_that_finds_nothing_of_interest_counts_all_steps_alike() -> None:
    """Then it gives what the plain mean and deviation give, in a ragged batch, too."""
    plain, attentive = network("crnn"), network("crnn", attention=True)
    attentive.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.zeros_(attentive.get_parameter("attention.score.2.weight"))

    torch.testing.assert_close(
        encode(attentive, *RAGGED), encode(plain, *RAGGED), rtol=0, atol=1e-5
    )


def test_a_sound_may_be_of_any_length() -> None:
    """It has no positions."""
    crnn = network("crnn")

    assert crnn.longest is None
    assert encode(crnn, noise(4001)).isfinite().all()


def test_it_has_no_published_weights(tmp_path: Path) -> None:
    """A base for it is a mistake, and said to be one."""
    with pytest.raises(ValueError, match="no published weights"):
        ARCHITECTURES["crnn"].read(tmp_path / "model.safetensors")
