"""The RNN-type network."""

from pathlib import Path

import pytest
import torch

from services.text_encoder.model import ARCHITECTURES
from tests.unit.services.text_encoder.networks import RAGGED, encode, network, one_by_one

BOTH_WAYS = 2 * 8


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_either_cell_takes_a_ragged_batch(cell: str) -> None:
    """The way back begins at each text's own last token."""
    rnn = network("rnn", cell=cell)

    torch.testing.assert_close(encode(rnn, *RAGGED), one_by_one(rnn, *RAGGED), rtol=0, atol=1e-6)


def test_the_poolings_stand_side_by_side() -> None:
    """The embedding is as long as all of them together."""
    rnn, mean, largest = (
        network("rnn", poolings=names) for names in (["mean", "max"], ["mean"], ["max"])
    )

    assert (rnn.dim, mean.dim, largest.dim) == (2 * BOTH_WAYS, BOTH_WAYS, BOTH_WAYS)
    assert torch.equal(
        encode(rnn, *RAGGED), torch.cat([encode(mean, *RAGGED), encode(largest, *RAGGED)], dim=1)
    )


def test_the_mean_is_never_above_the_largest() -> None:
    """They are what their names say."""
    mean, largest = encode(network("rnn"), *RAGGED).split(BOTH_WAYS, dim=1)

    assert (mean <= largest + 1e-6).all()
    torch.testing.assert_close(mean[-1], largest[-1])  # a text of one token


def test_one_half_has_read_from_the_start_and_the_other_from_the_end() -> None:
    """At the last token only the first half knows the first word."""
    rnn = network("rnn", num_layers=1, poolings=["last"])
    one, other = encode(rnn, [2, 5, 3], [8, 5, 3])

    assert (one - other)[:8].abs().max() > 1e-3
    assert torch.equal(one[8:], other[8:])


def test_a_single_layer_may_have_dropout() -> None:
    """On its token embeddings, then, since there is nothing between layers."""
    rnn = network("rnn", num_layers=1, dropout=0.5).train()
    torch.manual_seed(0)

    assert not torch.equal(encode(rnn, *RAGGED), encode(rnn, *RAGGED))


def test_a_text_may_be_of_any_length() -> None:
    """It has no positions."""
    rnn = network("rnn")

    assert rnn.positions is None
    assert encode(rnn, [2, *[5] * 2000, 3]).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "elman"}, "the cell 'elman' is none of gru, lstm"),
        ({"poolings": ["median"]}, "the pooling 'median' is none of mean, max, last"),
    ],
)
def test_an_unknown_choice_is_named(settings: dict[str, str], message: str) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=message):
        network("rnn", **settings)


def test_it_has_no_published_weights(tmp_path: Path) -> None:
    """A base for it is a mistake, and said to be one."""
    with pytest.raises(ValueError, match="no published weights"):
        ARCHITECTURES["rnn"].read(tmp_path / "model.safetensors")
