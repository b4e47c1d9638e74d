"""The torch engine, and how settings choose engines."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mesh.engine import DeviceMissing, engine_builders, engine_class
from mesh.settings import NodeSettings


class Scale(torch.nn.Module):
    """Multiplies by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 64)
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 64) -> (n, 64)."""
        out: torch.Tensor = self.dropout(self.linear(x))
        return out


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Leave torch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


INPUTS = {"x": torch.linspace(-1, 1, 128).reshape(2, 64)}


def test_an_engine_computes_what_the_module_computes_in_evaluation() -> None:
    """As float32 in numpy, without dropout and without gradients."""
    module = Scale()
    [build] = engine_builders(NodeSettings(threads=1))
    output = build(module, INPUTS)(INPUTS)
    assert output.dtype == np.float32
    assert np.allclose(output, module.linear(INPUTS["x"]).detach().numpy(), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_bfloat16_is_near_but_not_the_same() -> None:
    """And still comes out as float32."""
    module = Scale()
    [exact] = engine_builders(NodeSettings(threads=1))
    [rounded] = engine_builders(NodeSettings(threads=1, dtype="bfloat16"))
    one, other = exact(module, INPUTS)(INPUTS), rounded(module, INPUTS)(INPUTS)
    assert other.dtype == np.float32
    assert np.allclose(one, other, atol=0.02)
    assert not np.array_equal(one, other)


def test_each_device_has_a_builder() -> None:
    """In the order of MESH_DEVICES."""
    assert len(engine_builders(NodeSettings(threads=1, devices="cpu, cpu"))) == 2


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_torch_can_not_use_is_an_error_that_names_the_setting(device: str) -> None:
    """Before any model is built for it, and by one line."""
    with pytest.raises(DeviceMissing, match=f"^MESH_DEVICES: '{device}' can't be used: .+$"):
        engine_builders(NodeSettings(threads=1, devices=f"cpu,{device}"))


def test_the_threads_of_the_process_are_set() -> None:
    """MESH_THREADS bounds what a forward takes of the machine."""
    engine_builders(NodeSettings(threads=1))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", "fp32"), ("float32", "fp32"), ("bfloat16", "bf16")]
)
def test_the_class_of_an_engine_is_that_of_its_numbers(dtype: str, expected: str) -> None:
    """Artifacts state a tolerance for each."""
    assert engine_class(NodeSettings.model_validate({"dtype": dtype})) == expected
