"""Whether a core is idle."""

import os
from pathlib import Path

import pytest

from mesh import cores
from mesh.cores import on_cpu

COUNT = 4


@pytest.fixture(autouse=True)
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file by which the system tells what runs on four cores."""
    file = tmp_path / "loadavg"
    file.write_text("0.00 0.01 0.05 1/180 4711\n")
    monkeypatch.setattr(cores, "LOAD", str(file))
    monkeypatch.setattr(os, "cpu_count", lambda: COUNT)
    return file


@pytest.mark.parametrize(("running", "crowded"), [(1, False), (4, False), (5, True), (31, True)])
def test_cores_are_crowded_once_others_take_all_of_them(
    load: Path, running: int, crowded: bool
) -> None:
    """The thread that asks runs, too, and is not counted."""
    sharing = on_cpu()
    load.write_text(f"3.10 0.41 0.05 {running}/180 4711\n")
    assert sharing.crowded() is crowded


def test_where_nobody_tells_cores_are_idle(load: Path) -> None:
    """As on systems that have no such file, or fill it with something else."""
    sharing = on_cpu()
    load.write_text("nothing of the kind\n")
    assert not sharing.crowded()
    load.unlink()
    assert not on_cpu().crowded()
