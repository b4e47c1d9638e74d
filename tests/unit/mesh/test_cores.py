"""Whether a core is idle."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mesh import cores
from mesh.cores import CORES, on_cpu, roaming

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


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that a process can have")
def test_who_roams_is_not_bound_to_the_home_core() -> None:
    """On its own thread only, and with what it was called with."""

    def bound() -> set[int]:
        os.sched_setaffinity(0, {min(CORES)})
        return roaming(lambda: os.sched_getaffinity(0))()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(bound).result() == CORES
        assert thread.submit(roaming(divmod), 7, 2).result() == (3, 1)
