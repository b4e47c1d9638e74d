"""The torch engine."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from mesh import torch_engine as module
from mesh.engine import DeviceMissing, Engine
from mesh.torch_engine import torch_engine, try_device

INPUTS = {"x": torch.linspace(-1, 1, 128).reshape(2, 64)}
NO_CUDA = "torch sees no CUDA device here"


class Scale(torch.nn.Module):
    """Multiplies by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 32)
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 64) -> (n, 32)."""
        out: torch.Tensor = self.dropout(self.linear(x))
        return out


@pytest.fixture
def network() -> Scale:
    """A network with random weights."""
    torch.manual_seed(0)
    return Scale()


def engine(network: Scale, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Engine:
    """The network at work."""
    return torch_engine(lambda: network, INPUTS, device=device, dtype=dtype)


def test_an_engine_computes_what_the_network_computes_in_evaluation(network: Scale) -> None:
    """As float32 in numpy, without dropout and without gradients."""
    output = engine(network)(INPUTS)
    assert output.dtype == np.float32
    assert np.allclose(output, network.linear(INPUTS["x"]).detach().numpy(), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_it_says_how_many_numbers_it_gives(network: Scale) -> None:
    """For each item."""
    assert engine(network).dim == 32


def test_inputs_may_be_arrays(network: Scale) -> None:
    """Preprocessing need not know torch."""
    run = engine(network)
    assert np.array_equal(run({"x": INPUTS["x"].numpy()}), run(INPUTS))


def test_bfloat16_is_near_but_not_the_same(network: Scale) -> None:
    """And still comes out as float32."""
    one, other = engine(network)(INPUTS), engine(network, torch.bfloat16)(INPUTS)
    assert other.dtype == np.float32
    assert np.allclose(one, other, atol=0.02)
    assert not np.array_equal(one, other)


def test_an_output_is_read_before_its_stream_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nothing would wait for it."""
    inside = [False]

    @contextmanager
    def stream() -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    class Output:
        """What a network gives, as far as the engine looks at it."""

        def float(self) -> torch.Tensor:
            """The numbers."""
            assert inside[0]
            return torch.zeros(2, 4)

    class Gives(torch.nn.Module):
        """Gives an Output."""

        def forward(self, x: torch.Tensor) -> Output:
            """Whatever comes."""
            return Output()

    monkeypatch.setattr(module, "_streams", lambda target: stream)
    assert torch_engine(Gives, INPUTS, device="cpu", dtype=torch.float32).dim == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cuda_computes_what_the_cpu_computes(network: Scale, dtype: torch.dtype) -> None:
    """In every dtype, and with inputs copied from pinned memory."""
    expected = engine(network)(INPUTS)
    assert np.allclose(engine(network, dtype, "cuda:0")(INPUTS), expected, atol=0.02)


def test_the_cpu_can_be_used() -> None:
    """A device that can't be is an error."""
    try_device("cpu")
    with pytest.raises(DeviceMissing):
        try_device("meta")
