"""The cuda_graphs engine on a GPU: what its graphs compute, and what can't be one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mesh.cuda_graphs import cuda_graphs_engine
from mesh.engine import EngineUnsuitable
from mesh.torch_engine import torch_engine
from tests.unit.mesh.networks import INPUTS, Pooled

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")


def seeded() -> Pooled:
    """The same network each time."""
    torch.manual_seed(0)
    return Pooled()


@on_cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_graphs_compute_what_the_cpu_computes(dtype: torch.dtype) -> None:
    """For batches and lengths that come in any order."""
    expected = torch_engine(seeded, INPUTS, device="cpu", dtype=torch.float32)
    engine = cuda_graphs_engine(seeded, INPUTS, device="cuda:0", dtype=dtype, workers=1)
    for items, steps in ((1, 3), (5, 7), (2, 3), (5, 7), (1, 3)):
        x, lengths = torch.randn(items, steps, 8), torch.randint(1, steps + 1, (items,))
        inputs = {"x": x, "lengths": lengths}
        assert np.allclose(engine(inputs), expected(inputs), atol=0.02)


@on_cuda
def test_several_batches_at_a_time_do_not_meet() -> None:
    """Each worker has a stream, graphs and memory of its own."""
    expected = torch_engine(seeded, INPUTS, device="cpu", dtype=torch.float32)
    engine = cuda_graphs_engine(seeded, INPUTS, device="cuda:0", dtype=torch.float32, workers=3)
    batches = [
        {"x": torch.randn(items, 9, 8), "lengths": torch.full((items,), 9)}
        for items in (1, 2, 3, 4, 5, 6) * 20
    ]
    with ThreadPoolExecutor(3) as threads:
        for batch, found in zip(batches, threads.map(engine, batches), strict=True):
            assert np.allclose(found, expected(batch), atol=1e-3)


@on_cuda
def test_a_network_that_looks_at_its_numbers_can_not_be_recorded() -> None:
    """Another engine can run it."""

    class Looks(torch.nn.Module):
        """Branches by what it computes."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """The same, or its negative."""
            return x if x.sum().item() > 0 else -x

    with pytest.raises(EngineUnsuitable, match="can't record the network"):
        cuda_graphs_engine(
            Looks, {"x": torch.ones(1, 4)}, device="cuda:0", dtype=torch.float32, workers=1
        )
