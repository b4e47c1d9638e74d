"""The openvino engine."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh import openvino_engine as engine_module
from mesh import openvino_model as model_module
from mesh.engine import EngineUnsuitable
from mesh.engine_cache import EngineCache, Key
from mesh.openvino_engine import Setup, openvino_engine
from mesh.openvino_model import convert, quantized_file, save
from tests.unit.mesh.networks import INPUTS, ONE, Pooled, engine, openvino_setup


class Recurrent(Pooled):
    """A network with an LSTM in it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.LSTM(8, 4)


class Odd(Pooled):
    """A network that can't be traced."""

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Raises."""
        raise ValueError("not\ntoday")


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """One thread of float32, with a cache."""
    return openvino_setup(tmp_path)


@pytest.fixture
def network() -> Pooled:
    """A network with random weights."""
    torch.manual_seed(0)
    return Pooled()


def never() -> torch.nn.Module:
    """What must not be called."""
    raise AssertionError("the network was made")


def test_it_computes_what_the_network_computes_for_any_batch_and_length(
    network: Pooled, setup: Setup
) -> None:
    """As float32, without dropout, and padding is no step."""
    run = engine(network, setup)
    inputs = {"x": torch.randn(5, 7, 8), "lengths": torch.tensor([7, 1, 3, 2, 7])}
    with torch.inference_mode():
        expected = network.eval()(**inputs).numpy()
    output = run(inputs)
    assert output.dtype == np.float32
    assert output == pytest.approx(expected, abs=1e-6)
    assert run.dim == 4


def test_an_output_stays_as_it_is_when_the_next_is_computed(network: Pooled, setup: Setup) -> None:
    """The engine's own memory is not given away."""
    run = engine(network, setup)
    first = run(INPUTS)
    kept = first.copy()
    run({"x": INPUTS["x"] + 1, "lengths": INPUTS["lengths"]})
    assert np.array_equal(first, kept)


def test_a_second_start_makes_no_network(network: Pooled, setup: Setup) -> None:
    """The converted one is read from the cache."""
    expected = engine(network, setup)(INPUTS)
    assert np.array_equal(openvino_engine(never, INPUTS, setup=setup)(INPUTS), expected)


def test_other_code_converts_anew(
    network: Pooled, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights may mean something else in it."""
    engine(network, setup)
    monkeypatch.setattr(model_module, "sources_hash", lambda name: "other")
    with pytest.raises(AssertionError, match="the network was made"):
        openvino_engine(never, INPUTS, setup=setup)


class Vanishing(EngineCache):
    """A cache whose entries are removed as soon as they were looked at."""

    def read(self, key: Key) -> Path | None:
        """The folder of what was there."""
        if (entry := super().read(key)) is not None:
            self.forget(key)
        return entry

    def write(self, key: Key, fill: Callable[[Path], None]) -> Path | None:
        """The folder of what was there."""
        entry = super().write(key, fill)
        self.forget(key)
        return entry


def test_an_entry_that_vanishes_is_none(network: Pooled, setup: Setup) -> None:
    """Whether before it is used or right after it was written, the node starts."""
    expected = engine(network, setup)(INPUTS)
    vanishing = Setup("float32", ONE, setup.artifact, Vanishing(setup.cache.folder))
    assert engine(network, vanishing)(INPUTS) == pytest.approx(expected, abs=1e-6)


def test_without_a_cache_it_works_from_memory(network: Pooled, setup: Setup) -> None:
    """Each start converts."""
    bare = Setup("float32", ONE, setup.artifact, EngineCache(None))
    assert engine(network, bare)(INPUTS).shape == (1, 4)


@pytest.mark.skipif(not engine_module.has_bfloat16(), reason="this CPU has no bfloat16")
def test_bfloat16_is_near_but_not_the_same(network: Pooled, setup: Setup) -> None:
    """And still comes out as float32."""
    half = Setup("bfloat16", ONE, setup.artifact, setup.cache)
    one, other = engine(network, setup)(INPUTS), engine(network, half)(INPUTS)
    assert other.dtype == np.float32
    assert np.allclose(one, other, atol=0.02)
    assert not np.array_equal(one, other)


def test_a_cpu_without_bfloat16_is_an_error(
    network: Pooled, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That names the setting."""
    monkeypatch.setattr(engine_module, "has_bfloat16", lambda: False)
    with pytest.raises(EngineUnsuitable, match="MESH_DTYPE: this CPU has no bfloat16"):
        engine(network, Setup("bfloat16", ONE, setup.artifact, setup.cache))


def test_a_dtype_that_it_does_not_have_is_an_error(network: Pooled, setup: Setup) -> None:
    """That names the setting."""
    with pytest.raises(EngineUnsuitable, match="MESH_DTYPE: the openvino engine has no float16"):
        engine(network, Setup("float16", ONE, setup.artifact, setup.cache))


def test_recurrent_layers_are_refused(setup: Setup) -> None:
    """They would read padding."""
    with pytest.raises(EngineUnsuitable, match="recurrent layers"):
        engine(Recurrent(), setup)


def test_a_network_that_can_not_be_converted_is_named(setup: Setup) -> None:
    """In one line."""
    with pytest.raises(EngineUnsuitable, match=r"^openvino can't convert Odd: .*$"):
        engine(Odd(), setup)


def test_int8_needs_its_own_file(network: Pooled, setup: Setup) -> None:
    """The error says which, and what makes it."""
    quantized = Setup("int8", ONE, setup.artifact, setup.cache)
    with pytest.raises(EngineUnsuitable, match=r"int8/text\.xml; `training\.quantize` makes it"):
        engine(network, quantized)


def test_int8_of_another_artifact_is_refused(network: Pooled, setup: Setup) -> None:
    """Its numbers are not this one's."""
    model = convert(network, INPUTS)
    file = quantized_file(setup.artifact.path)
    file.parent.mkdir()
    for version, holds in (("sha256:other", False), (setup.artifact.version, True)):
        model.set_rt_info(version, "artifact")
        save(model, file)
        quantized = Setup("int8", ONE, setup.artifact, setup.cache)
        if holds:
            assert openvino_engine(never, INPUTS, setup=quantized).dim == 4
        else:
            with pytest.raises(EngineUnsuitable, match="made of sha256:other"):
                engine(network, quantized)


def test_saving_leaves_the_older_files_to_whoever_has_them_open(tmp_path: Path) -> None:
    """A node that has weights mapped goes on with them; and nothing else is left in the folder."""
    file = tmp_path / "text.xml"
    save(convert(Pooled(), INPUTS), file)
    with file.with_suffix(".bin").open("rb") as weights:
        before = weights.read()
        save(convert(Pooled(), INPUTS), file)
        weights.seek(0)
        assert weights.read() == before
    assert file.with_suffix(".bin").read_bytes() != before
    assert {path.name for path in tmp_path.iterdir()} == {"text.xml", "text.bin"}


def test_an_int8_file_that_can_not_be_read_is_named(setup: Setup) -> None:
    """Another engine may do."""
    file = quantized_file(setup.artifact.path)
    file.parent.mkdir()
    file.write_text("no model")
    with pytest.raises(EngineUnsuitable, match=r"openvino can't read .*text\.xml"):
        openvino_engine(never, INPUTS, setup=Setup("int8", ONE, setup.artifact, setup.cache))


def test_what_openvino_can_not_run_is_the_engines_fault(network: Pooled, setup: Setup) -> None:
    """Another one may do."""
    run = engine(network, setup)
    with pytest.raises(EngineUnsuitable, match="openvino can't run the network"):
        run({**INPUTS, "unknown": torch.zeros(1)})


def test_openvino_does_not_tell_its_makers_of_its_use() -> None:
    """Its telemetry is not even imported."""
    program = (
        "import sys; from mesh.openvino_model import core; core();"
        "print(sys.modules['openvino_telemetry'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "None False"
