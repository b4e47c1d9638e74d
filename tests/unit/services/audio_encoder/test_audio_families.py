"""What holds for an audio network of any family."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
import torch

from services.audio_encoder.model import ARCHITECTURES
from services.audio_encoder.network import Network
from tests.unit.services.audio_encoder.networks import (
    MELS,
    MODELS,
    RAGGED,
    batch,
    encode,
    network,
    noise,
    one_by_one,
)

VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "whisper": ("whisper", {}),
    "crnn": ("crnn", {}),
    "crnn, attention": ("crnn", {"attention": True, "layers": 2}),
    "tcn": ("tcn", {}),
    "tcn, causal": ("tcn", {"causal": True}),
    "tcn, even kernel": ("tcn", {"kernel": 4}),
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    """Each family in turn, in each way that its config may choose."""
    return VARIANTS[request.param]


@pytest.fixture
def built(variant: tuple[str, Mapping[str, Any]]) -> Network:
    """A tiny network of the family."""
    architecture, settings = variant
    return network(architecture, **settings)


def test_each_sound_has_an_embedding_of_the_promised_length(built: Network) -> None:
    """In float32."""
    vectors = encode(built, *RAGGED)

    assert vectors.shape == (len(RAGGED), built.dim)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


def test_a_ragged_batch_equals_one_by_one(built: Network) -> None:
    """Odd, even and very short lengths: padding changes nothing."""
    torch.testing.assert_close(
        encode(built, *RAGGED), one_by_one(built, *RAGGED), rtol=0, atol=1e-5
    )


def test_what_padding_holds_does_not_matter(built: Network) -> None:
    """Only the frames that are a sound's own, and a convolution's reach of zeros, are heard."""
    inputs = batch(noise(20), noise(60))
    with torch.inference_mode():
        expected = built(**inputs)
        inputs["mel"][0, :, 22:] = 7.0
        found = built(**inputs)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_sound_matters(built: Network) -> None:
    """Different sounds of the same length have different embeddings."""
    one, other = encode(built, noise(50), noise(99)[:, :50])

    assert (one - other).abs().max() > 1e-2


def test_the_order_in_time_matters(built: Network) -> None:
    """A sound played backwards is another one."""
    one, other = encode(built, noise(50), noise(50).flip(1))

    assert (one - other).abs().max() > 1e-3


def test_dropout_is_felt_in_training_alone(variant: tuple[str, Mapping[str, Any]]) -> None:
    """In eval mode the numbers are those of a network without it."""
    architecture, settings = variant
    dropping = network(architecture, **settings, dropout=0.5)
    plain = network(architecture, **settings)
    assert torch.equal(encode(dropping, *RAGGED), encode(plain, *RAGGED))

    torch.manual_seed(0)
    dropping.train()
    assert not torch.equal(encode(dropping, *RAGGED), encode(dropping, *RAGGED))


def test_without_dropout_training_mode_is_repeatable(built: Network) -> None:
    """Nothing else is left to chance."""
    built.train()

    assert torch.equal(encode(built, *RAGGED), encode(built, *RAGGED))


def test_gradients_reach_every_weight(built: Network) -> None:
    """None is left as it was by training."""
    vectors = built.train()(**batch(*RAGGED))
    (vectors * torch.linspace(-1, 1, vectors.numel()).reshape(vectors.shape)).sum().backward()

    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("training", [False, True])
def test_a_single_frame_has_a_slope(built: Network, training: bool) -> None:
    """Its deviation is zero, where a root's slope would be infinite."""
    built.train(training)(**batch(noise(1))).sum().backward()

    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_half_precision_gives_nearly_the_same(built: Network) -> None:
    """Within what artifacts allow bfloat16, in a ragged batch, too."""
    with torch.autocast("cpu", torch.bfloat16):
        half = encode(built, *RAGGED)

    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, encode(built, *RAGGED)).min() > 0.99


@pytest.mark.parametrize("architecture", ["crnn", "tcn"])
def test_it_learns_from_scratch(architecture: str) -> None:
    """To tell rising sounds from falling ones, whose mean over time is the same."""
    torch.manual_seed(0)
    built = ARCHITECTURES[architecture].build(MODELS[architecture])
    judge = torch.nn.Linear(built.dim, 2)
    adam = torch.optim.Adam([*built.parameters(), *judge.parameters()], lr=0.01)
    for _ in range(30):
        mels, labels = sweeps(16)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(judge(built(**batch(*mels))), labels).backward()
        adam.step()

    mels, labels = sweeps(50)
    right = judge(encode(built.eval(), *mels).clone()).argmax(1) == labels
    assert right.float().mean() > 0.9


def sweeps(count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Noise of 20 to 39 frames with a tone that falls, label 0, or rises, label 1, through it."""
    labels = torch.arange(count) % 2
    mels = []
    for label in labels:
        mel = torch.randn(MELS, int(torch.randint(20, 40, ()))) / 3
        frames = torch.arange(mel.shape[1])
        band = frames * (MELS - 1) // (mel.shape[1] - 1)
        mel[band if label else MELS - 1 - band, frames] += 3.0
        mels.append(mel)
    return mels, labels


def test_its_weights_are_all_that_it_is(
    built: Network, variant: tuple[str, Mapping[str, Any]]
) -> None:
    """Another network of the same shape with the same weights gives the same embeddings."""
    architecture, settings = variant
    other = ARCHITECTURES[architecture].build({**MODELS[architecture], **settings}).eval()
    other.load_state_dict(built.state_dict(), strict=True)

    assert torch.equal(encode(other, *RAGGED), encode(built, *RAGGED))


@pytest.mark.parametrize("architecture", MODELS)
def test_unknown_settings_are_named(architecture: str) -> None:
    """All of them, with those that there are: a misspelt one would else be a default in silence."""
    model = {**MODELS[architecture], "hiden": 8, "drop_out": 0.1}

    with pytest.raises(
        ValueError, match=r"`model` has drop_out, hiden, .* none of mels, .*dropout"
    ):
        ARCHITECTURES[architecture].build(model)


@pytest.mark.parametrize("architecture", MODELS)
def test_missing_settings_are_named(architecture: str) -> None:
    """Nothing of a network's size has a default."""
    with pytest.raises(TypeError, match="'mels'"):
        ARCHITECTURES[architecture].build({})
