"""The openvino engine where several batches are computed at a time."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mesh import openvino_engine as module
from mesh.allocator import give_back_free
from mesh.engine import EngineUnsuitable
from tests.unit.mesh.networks import INPUTS, Pooled, engine, openvino_setup

# What takes a moment.
LARGE = {"x": torch.ones(64, 4000, 8), "lengths": torch.full((64,), 4000)}
WIDE = {"x": torch.ones(16, 200, 8), "lengths": torch.full((16,), 200)}
# Whose hidden layer has 31 MB.
HUGE = {"x": torch.ones(64, 30_000, 8), "lengths": torch.full((64,), 30_000)}


def test_workers_compute_at_the_same_time_and_each_its_own(tmp_path: Path) -> None:
    """What one of them computes is none of the others'."""
    compute = engine(Pooled(), openvino_setup(tmp_path, workers=2))
    inputs = [{**INPUTS, "x": torch.full((1, 3, 8), float(n))} for n in range(8)]
    alone = [compute(each) for each in inputs]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(compute, inputs * 25))
    for index, vectors in enumerate(together):
        np.testing.assert_array_equal(vectors, alone[index % len(inputs)])


class Compiling:
    """The engine's own compiling, counted; beyond the first models it fails where told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self._compile: Callable[..., Any] = module._compile
        self._most = most
        self.count = 0
        monkeypatch.setattr(module, "_compile", self)

    def __call__(self, *args: Any) -> Any:
        """As long as it may."""
        self.count += 1
        if self.count > self._most:
            raise EngineUnsuitable("no memory is left")
        return self._compile(*args)


@pytest.mark.parametrize("most", [3, 1])
def test_a_further_model_is_compiled_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """And where it can't be, batches wait for the one that there is, and it is not tried again."""
    compiling = Compiling(monkeypatch, most)
    compute = engine(Pooled(), openvino_setup(tmp_path, workers=2))
    alone = [compute(INPUTS) for _ in range(3)]
    assert compiling.count == 1

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(compute, [LARGE] * 12))
        together = list(threads.map(compute, [INPUTS] * 12))
    assert compiling.count == 2
    assert all(np.array_equal(vectors, alone[0]) for vectors in [*alone, *together])


def test_a_batch_is_computed_on_its_callers_thread(tmp_path: Path) -> None:
    """Where that may run, the model computes; also where there are several workers."""
    compute = engine(Pooled(), openvino_setup(tmp_path, workers=2))
    compute(LARGE)
    all_threads, this_thread = time.process_time(), time.thread_time()
    for _ in range(10):
        compute(LARGE)
    assert time.thread_time() - this_thread > 0.9 * (time.process_time() - all_threads)


class Wide(Pooled):
    """With 16 MB of weights."""

    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(8, 1000), torch.nn.Linear(1000, 4000), torch.nn.Linear(4000, 4)]
        self.linear = torch.nn.Sequential(*layers)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what is mapped")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_file_of_the_weights_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """What is computed with lies in another form beside it, also for a worker that begins later."""
    compiling = Compiling(monkeypatch, workers)
    setup = replace(openvino_setup(tmp_path, workers=workers), dtype="int8_dynamic")
    compute = engine(Wide(), setup)
    with ThreadPoolExecutor(workers) as threads:
        vectors = list(threads.map(compute, [WIDE] * 2 * workers))
    assert np.isfinite(vectors).all()
    assert compiling.count == workers
    files = tmp_path.glob("cache/*/model.bin")
    rounded = min(files, key=lambda file: file.stat().st_size)
    assert rounded.stat().st_size > 4e6
    assert _resident(rounded) < 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what is in memory")
def test_what_inputs_took_can_be_given_back(tmp_path: Path) -> None:
    """By all that compute nothing; what comes then is computed as before."""
    compute = engine(Pooled(), openvino_setup(tmp_path, workers=2))
    expected = compute(INPUTS)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(compute, [HUGE] * 8))
    give_back_free()
    before = _anonymous()
    compute.release()
    give_back_free()
    # At least each one's hidden layer.
    assert before - _anonymous() > 2 * 30e6
    assert np.array_equal(compute(INPUTS), expected)


def _anonymous() -> float:
    """Bytes of this process's own memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * float(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def _resident(file: Path) -> float:
    """Bytes that this process has of a file in memory; it must have mapped it."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [index for index, line in enumerate(lines) if line.endswith(str(file))]
    assert starts
    sizes = (line for start in starts for line in lines[start : start + 10])
    return sum(1024 * float(line.split()[1]) for line in sizes if line.startswith("Rss:"))
