"""What holds for a text network of any family."""

import pytest
import torch

from services.text_encoder.network import Network
from tests.unit.services.text_encoder.networks import (
    MODELS,
    RAGGED,
    batch,
    encode,
    network,
    one_by_one,
)


@pytest.fixture(params=MODELS)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture
def built(family: str) -> Network:
    """A tiny network of the family."""
    return network(family)


def test_each_text_has_an_embedding_of_the_promised_length(built: Network) -> None:
    """In float32."""
    vectors = encode(built, *RAGGED)

    assert vectors.shape == (len(RAGGED), built.dim)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


def test_a_ragged_batch_equals_one_by_one(built: Network) -> None:
    """Padding changes nothing."""
    torch.testing.assert_close(
        encode(built, *RAGGED), one_by_one(built, *RAGGED), rtol=0, atol=1e-6
    )


def test_what_stands_in_padded_places_changes_nothing(built: Network) -> None:
    """Any id may be the one that pads."""
    inputs = batch(*RAGGED)
    padding = inputs["attention_mask"] == 0
    with torch.inference_mode():
        expected = built(**inputs)
        found = built(**inputs | {"input_ids": inputs["input_ids"].masked_fill(padding, 9)})

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_words_matter(built: Network) -> None:
    """Texts of different words have different embeddings."""
    one, other = encode(built, [2, 5, 3], [2, 8, 3])

    assert torch.cosine_similarity(one, other, dim=0) < 0.9999


def test_their_order_matters(built: Network) -> None:
    """And texts of the same words in another order."""
    one, other = encode(built, [2, 5, 8, 3], [2, 8, 5, 3])

    assert torch.cosine_similarity(one, other, dim=0) < 0.9999


def test_dropout_is_felt_in_training_alone(family: str) -> None:
    """In eval mode the numbers are those of a network without it."""
    dropping = network(family, dropout=0.5)
    assert torch.equal(encode(dropping, *RAGGED), encode(network(family), *RAGGED))

    torch.manual_seed(0)
    dropping.train()
    assert not torch.equal(encode(dropping, *RAGGED), encode(dropping, *RAGGED))


def test_without_dropout_training_mode_changes_nothing(built: Network) -> None:
    """Nothing else depends on the mode."""
    expected = encode(built, *RAGGED)

    assert torch.equal(encode(built.train(), *RAGGED), expected)


def test_gradients_reach_every_weight(built: Network) -> None:
    """None is left as it was by training."""
    vectors = built(**batch(*RAGGED))
    weights = torch.linspace(-1, 1, vectors.numel()).reshape(vectors.shape)
    (vectors * weights).sum().backward()

    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_its_weights_are_all_that_it_is(family: str, built: Network) -> None:
    """Another network of the same shape with the same weights gives the same embeddings."""
    other = network(family)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(built.state_dict(), strict=True)

    assert torch.equal(encode(other, *RAGGED), encode(built, *RAGGED))


def test_half_precision_gives_nearly_the_same(built: Network) -> None:
    """Within what artifacts allow bfloat16, in a ragged batch, too."""
    with torch.autocast("cpu", torch.bfloat16):
        half = encode(built, *RAGGED)

    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, encode(built, *RAGGED)).min() > 0.99
