"""The TCN."""

from pathlib import Path

import pytest
import torch

from services.audio_encoder.model import ARCHITECTURES
from services.audio_encoder.tcn import Level, PooledTcn, TcnShape
from tests.unit.services.audio_encoder.networks import TCN, encode, network, noise

# Two convolutions of three frames at each of three levels, 1, 2 and 4 frames apart.
REACH = 2 * 2 * (1 + 2 + 4)


def heard_at(frame: int, **settings: bool) -> list[int]:
    """The frames of the last level that hear a change of one frame of the sound."""
    tcn = network("tcn", **settings)
    assert isinstance(tcn, PooledTcn)
    seen: list[torch.Tensor] = []
    tcn.levels[-1].register_forward_hook(lambda *call: seen.append(call[-1][0]))
    mel = noise(99)
    encode(tcn, mel)
    mel[:, frame] += 100.0
    encode(tcn, mel)
    before, after = seen
    return (before != after).any(dim=0).nonzero().flatten().tolist()


def test_a_causal_one_does_not_look_ahead() -> None:
    """A change is heard from then on, as far as the levels reach."""
    heard = heard_at(40, causal=True)

    assert (heard[0], heard[-1]) == (40, 40 + REACH)


def test_one_that_is_not_causal_looks_as_far_ahead_as_back() -> None:
    """Half of its reach each."""
    heard = heard_at(40)

    assert (heard[0], heard[-1]) == (40 - REACH // 2, 40 + REACH // 2)


def test_each_level_has_weights_of_its_own() -> None:
    """And adds to its input, by a matrix where the width changes."""
    tcn = network("tcn")
    widths = [tcn.get_parameter(f"levels.{n}.conv1.bias").shape[0] for n in range(3)]

    assert widths == TCN["channels"]
    assert [name for name, _ in tcn.named_parameters() if "shortcut.weight" in name] == [
        "levels.0.shortcut.weight",
        "levels.2.shortcut.weight",
    ]


def test_a_level_that_learned_nothing_passes_its_input_on() -> None:
    """What makes many levels trainable."""
    level = Level(TcnShape(mels=4, channels=[4]), 0)
    for name in ("conv1", "conv2"):
        torch.nn.init.zeros_(level.get_parameter(f"{name}.parametrizations.weight.original0"))
        torch.nn.init.zeros_(level.get_parameter(f"{name}.bias"))
    x = torch.rand(1, 4, 9, generator=torch.Generator().manual_seed(0))

    assert torch.equal(level(x, torch.ones(1, 1, 9, dtype=torch.bool)), x)


def test_a_sound_may_be_of_any_length() -> None:
    """It has no positions."""
    tcn = network("tcn")

    assert tcn.longest is None
    assert encode(tcn, noise(4001)).isfinite().all()


def test_it_has_no_published_weights(tmp_path: Path) -> None:
    """A base for it is a mistake, and said to be one."""
    with pytest.raises(ValueError, match="no published weights"):
        ARCHITECTURES["tcn"].read(tmp_path / "model.safetensors")
