"""The program that does the complete work without a server, as it is told."""

from pathlib import Path

import pytest

from benchmarks.ceiling_process import ceiling
from benchmarks.processes import BenchError
from benchmarks.setup import Setup

PARTS = {"text": 128.0, "image": 40_000.0, "audio": 8.0}


def test_it_does_what_it_is_told(tmp_path: Path) -> None:
    """Order by order, by all processes together, with models that are loaded once."""
    setup = Setup("openvino", "float32", 1)
    with ceiling(setup, 2, PARTS, tmp_path / "log") as way:
        found = [way.measure(size, 0.2) for size in (1, 2)]
    for size, figures in zip((1, 2), found, strict=True):
        assert figures["median"] > 0
        # Of two processes; their medians and means differ.
        assert figures["rate"] == pytest.approx(2 * size / figures["median"], rel=0.8)


def test_what_can_not_be_loaded_is_told_at_once(tmp_path: Path) -> None:
    """By the last line of the reason."""
    setup = Setup("openvino", "int8_that_is_not_there", 1)
    with (
        pytest.raises(BenchError, match="in the process pool"),
        ceiling(setup, 1, PARTS, tmp_path / "log"),
    ):
        pass
