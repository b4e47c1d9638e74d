"""A Whisper in CTranslate2's file."""

from pathlib import Path

import pytest
import torch

from services.audio_encoder.ctranslate2 import read_ctranslate2
from services.audio_encoder.whisper import read_whisper
from tests.ctranslate2_writer import write_whisper
from tests.encoder_artifacts import tiny_whisper
from tests.unit.services.audio_encoder.networks import network


def test_a_stored_file_fits_strictly(tmp_path: Path) -> None:
    """Every variable of the encoder finds its place, query, key and value included."""
    write_whisper(tmp_path / "model.bin", tiny_whisper())
    model = network("whisper", dropout=0.1)
    model.load_state_dict(read_whisper(tmp_path / "model.bin"), strict=True)

    expected = tiny_whisper().half().float().state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


def test_the_decoder_is_left_out(tmp_path: Path) -> None:
    """And so are variables that are no weights."""
    write_whisper(tmp_path / "model.bin", tiny_whisper())

    assert read_ctranslate2(tmp_path / "model.bin").keys() == tiny_whisper().state_dict().keys()


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    """Its layout may be another one."""
    write_whisper(tmp_path / "model.bin", tiny_whisper(), version=5)

    with pytest.raises(ValueError, match="version 6"):
        read_ctranslate2(tmp_path / "model.bin")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    """Not read as if it were one."""
    (tmp_path / "model.bin").write_bytes(b"some other file")

    with pytest.raises(ValueError, match="no Whisper"):
        read_ctranslate2(tmp_path / "model.bin")
