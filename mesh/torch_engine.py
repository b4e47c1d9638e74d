"""The torch engine: a network as it is, on a CPU or on CUDA."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import torch

from mesh.engine import Array, DeviceMissing, Engine, Inputs, MakeNetwork

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Of glibc's malloc.h. The values are the largest that it takes, and what it asks the system for at
# a time, in bytes.
_MALLOC: Final = {-3: 32 * 1024**2, -1: 2**31 - 1, -2: 256 * 1024**2}


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


@cache
def keep_freed_memory() -> None:
    """Let glibc keep what torch frees, for its next allocation; other systems have no such knob.

    By default every large activation is mapped by the system anew, which zeroes it page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: None)
    for option, value in _MALLOC.items():
        mallopt(option, value)
