"""The torch engine: a network as it is, on a CPU or on CUDA."""

from collections.abc import Callable
from typing import Any, Final

import torch

from mesh.allocator import keep_freed_memory
from mesh.engine import Array, DeviceMissing, Engine, Inputs, MakeNetwork

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def torch_engine(make: MakeNetwork, example: Inputs, *, device: str, dtype: torch.dtype) -> Engine:
    """Run `network(**inputs)` by torch itself, without gradients, on one device.

    What is coarser than float32 runs under autocast, which keeps the sums that need it in float32.
    """
    target = torch.device(device)
    if target.type == "cpu":
        keep_freed_memory()
    network = make().to(target).eval().requires_grad_(False)
    move = _mover(target)

    def run(inputs: Inputs) -> Array:
        with (
            torch.inference_mode(),
            torch.autocast(target.type, dtype, enabled=dtype != torch.float32),
        ):
            output = network(**{name: move(value) for name, value in inputs.items()})
        array: Array = output.float().cpu().numpy()
        return array

    return Engine(run, run(example).shape[1])


def _mover(target: torch.device) -> Callable[[Any], torch.Tensor]:
    """From tensors or arrays to tensors on the device. To CUDA without waiting for the copy."""
    if target.type != "cuda":
        return lambda value: torch.as_tensor(value).to(target)
    return lambda value: torch.as_tensor(value).pin_memory().to(target, non_blocking=True)


def try_device(device: str) -> None:
    """Raises DeviceMissing where torch can't compute on it."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # The latter where torch has no such backend.
        reason = str(error).partition("\n")[0]
        raise DeviceMissing(f"MESH_DEVICES: {device!r} can't be used: {reason}") from error
