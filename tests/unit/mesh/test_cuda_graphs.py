"""The cuda_graphs engine but for its graphs: few shapes for all batches, and turns to record."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import structlog
import torch
from hypothesis import given
from hypothesis import strategies as st

from mesh import cuda_graphs
from mesh.artifact import Artifact
from mesh.cuda_graphs import Compute, Shapes, Tensors, Turns, filled, length
from mesh.engine import Array, Engine, Inputs, MakeNetwork
from mesh.settings import InputLimits
from mesh.torch_engine import names_of, torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.text_encoder.encoder import TextEncoder

MODEL = Path(__file__).parents[3] / "models/emotion6"


@given(st.integers(1, 10_000))
def test_a_length_becomes_one_of_few(wanted: int) -> None:
    """None less than it was, none more than a quarter longer, and each stays what it became."""
    found = length(wanted)
    assert wanted <= found <= 1.25 * wanted
    assert length(found) == found


def test_lengths_are_few() -> None:
    """Four between a power of two and the next."""
    assert sorted({length(wanted) for wanted in range(33, 129)}) == [
        *(40, 48, 56, 64),
        *(80, 96, 112, 128),
    ]


@pytest.mark.parametrize(("items", "whole"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (17, 32)])
def test_batches_are_filled_up_with_their_last_item(items: int, whole: int) -> None:
    """In all inputs, whatever their form."""
    inputs = {"x": torch.arange(2.0 * items).reshape(items, 2), "n": torch.arange(items)}
    got = filled(inputs)
    assert got["x"].shape == (whole, 2)
    assert got["n"].tolist() == [*range(items), *[items - 1] * (whole - items)]
    assert torch.equal(got["x"][items - 1 :], got["x"][items - 1].expand(whole - items + 1, 2))


def test_pictures_stay_as_they_lie_in_memory() -> None:
    """With their channels last, as convolutions read them."""
    pictures = torch.zeros(3, 4, 4, 3).permute(0, 3, 1, 2)
    assert filled({"pixels": pictures})["pixels"].is_contiguous(memory_format=torch.channels_last)


class Recorder:
    """Records by remembering the shape, or refuses to; a recording doubles its input."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.refused: set[int] = set()
        self.plain: list[int] = []

    def record(self, inputs: Tensors) -> Compute:
        shape = inputs["x"].shape
        if len(inputs["x"]) in self.refused:
            raise RuntimeError("operation not permitted\nwhen recording")
        self.recorded.append(len(inputs["x"]))

        def replay(again: Tensors) -> Array:
            assert again["x"].shape == shape
            found: Array = 2 * again["x"].numpy()
            return found

        return replay

    def plainly(self, inputs: Tensors) -> Array:
        self.plain.append(len(inputs["x"]))
        found: Array = 2 * inputs["x"].numpy()
        return found


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def run(shapes: Shapes, items: int) -> None:
    x = torch.randn(items, 3)
    assert np.array_equal(shapes({"x": x}), 2 * x.numpy())


def test_each_shape_is_recorded_once(recorder: Recorder) -> None:
    """And each batch has as many results as it had items."""
    shapes = Shapes(recorder.record, recorder.plainly)
    for items in (3, 4, 1, 3, 7, 8):
        run(shapes, items)
    assert recorder.recorded == [4, 1, 8]


def test_the_shape_that_was_used_least_recently_goes_first(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph takes memory."""
    monkeypatch.setattr(cuda_graphs, "KEPT", 2)
    shapes = Shapes(recorder.record, recorder.plainly)
    for items in (1, 2, 1, 4, 1, 2):
        run(shapes, items)
    assert recorder.recorded == [1, 2, 4, 2]


def test_a_shape_that_can_not_be_recorded_is_computed_plainly(recorder: Recorder) -> None:
    """It is tried once, and one line says why."""
    recorder.refused = {4}
    shapes = Shapes(recorder.record, recorder.plainly)
    with structlog.testing.capture_logs() as logs:
        for items in (4, 3, 2):
            run(shapes, items)
    assert (recorder.recorded, recorder.plain) == ([2], [4, 4])
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("no_cuda_graph", "operation not permitted")
    ]


def test_a_recording_goes_alone() -> None:
    """Batches run together, and end first; those that come meanwhile wait."""
    turns, inside = Turns(), []

    def take(turn: Callable[[], AbstractContextManager[None]], name: str) -> None:
        with turn():
            inside.append(name)
            assert name == "batch" or inside == [name]
            time.sleep(0.001)
            inside.remove(name)

    with ThreadPoolExecutor(6) as threads:
        jobs = [
            threads.submit(take, turns.alone, f"recording {number}")
            if number % 5 == 0
            else threads.submit(take, turns.together, "batch")
            for number in range(100)
        ]
        for job in jobs:
            job.result(10)


def test_batches_run_together() -> None:
    """A worker waits for no other one's."""
    turns, both = Turns(), Barrier(2)

    def run_one() -> None:
        with turns.together():
            both.wait(10)

    with ThreadPoolExecutor(2) as threads:
        for job in [threads.submit(run_one) for _ in range(2)]:
            job.result(10)


@pytest.mark.parametrize(
    ("modality", "encoder_class", "most"),
    [("text", TextEncoder, 256), ("audio", AudioEncoder, 3000)],
)
def test_an_encoder_pads_to_the_length_that_its_engine_likes(
    modality: str, encoder_class: type, most: int
) -> None:
    """And gives what it gives else; never beyond what its network can take."""
    lengths: list[int] = []
    liked = 0

    def build(make: MakeNetwork, example: Inputs) -> Engine:
        engine = torch_engine(make, example, device="cpu", dtype=torch.float32)

        def run(inputs: Inputs) -> Array:
            lengths.append(max(value.shape[-1] for value in inputs.values()))
            return engine(inputs)

        return Engine(run, engine.dim, lambda wanted: max(wanted, liked))

    encoder = encoder_class.load(Artifact.open(MODEL / modality), build, InputLimits())
    item = encoder.preprocess(encoder.example)
    plain = encoder.forward([item])
    liked = lengths[-1] + 5
    assert np.allclose(encoder.forward([item]), plain, atol=1e-4)
    liked = 10_000
    assert np.allclose(encoder.forward([item]), plain, atol=1e-4)
    assert lengths == [lengths[0], lengths[0] + 5, most]


def test_devices_have_names() -> None:
    """Those of GPUs are what their maker calls them."""
    assert names_of(["cpu"]) == ["cpu"]
