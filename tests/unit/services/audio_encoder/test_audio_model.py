"""The audio networks."""

from pathlib import Path

import pytest
import torch

from services.audio_encoder.model import ARCHITECTURES, PooledWhisper, WhisperShape, read_whisper
from services.audio_encoder.preprocess import AudioItem, collate
from tests.ctranslate2_writer import write_whisper
from tests.encoder_artifacts import WHISPER, tiny_whisper

LENGTHS = (1, 2, 3, 4, 7, 50, 99)


def noise(frames: int) -> AudioItem:
    """A spectrogram that is nowhere zero."""
    generator = torch.Generator().manual_seed(frames)
    return AudioItem(torch.randn(80, frames, generator=generator) + 0.5, truncated=False)


def test_an_embedding_is_mean_and_deviation_of_each_layer() -> None:
    """Two layers of 16 numbers give 64."""
    with torch.inference_mode():
        vectors = tiny_whisper()(**collate([noise(10)]))

    assert vectors.shape == (1, tiny_whisper().dim) == (1, 64)


def test_a_ragged_batch_equals_one_by_one() -> None:
    """Odd, even and very short lengths: padding changes nothing."""
    whisper, items = tiny_whisper(), [noise(frames) for frames in LENGTHS]
    with torch.inference_mode():
        together = whisper(**collate(items))
        alone = torch.cat([whisper(**collate([item])) for item in items])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_what_padding_holds_does_not_matter_beyond_the_convolution() -> None:
    """Only the frames that are an item's own reach its embedding."""
    whisper, batch = tiny_whisper(), collate([noise(20), noise(60)])
    with torch.inference_mode():
        expected = whisper(**batch)[0]
        batch["mel"][0, :, 22:] = 7.0
        found = whisper(**batch)[0]

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_middle_layers_are_those_of_the_whole_encoder() -> None:
    """Layers above the last that is pooled are not run, and change nothing."""
    middle = PooledWhisper(WhisperShape(**{**WHISPER, "pooled": (0, 1)})).eval()
    middle.load_state_dict(tiny_whisper().state_dict())
    every = PooledWhisper(WhisperShape(**{**WHISPER, "pooled": (0, 1, 2)})).eval()
    every.load_state_dict(tiny_whisper().state_dict())
    with torch.inference_mode():
        expected = every(**collate([noise(30)]))[:, : middle.dim]
        found = middle(**collate([noise(30)]))

    torch.testing.assert_close(found, expected)


def test_a_single_frame_has_a_slope() -> None:
    """Its deviation is zero, where a root's slope would be infinite."""
    whisper = tiny_whisper()
    whisper(**collate([noise(1)])).sum().backward()

    assert whisper.conv1.weight.grad is not None
    assert whisper.conv1.weight.grad.isfinite().all()


def test_a_stored_file_fits_strictly(tmp_path: Path) -> None:
    """Every variable of the encoder finds its place, query, key and value included."""
    write_whisper(tmp_path / "model.bin", tiny_whisper())
    model = ARCHITECTURES["whisper"].build(WHISPER)
    model.load_state_dict(read_whisper(tmp_path / "model.bin"), strict=True)

    expected = tiny_whisper().half().float().state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    """Its layout may be another one."""
    write_whisper(tmp_path / "model.bin", tiny_whisper(), version=5)

    with pytest.raises(ValueError, match="version 6"):
        read_whisper(tmp_path / "model.bin")
