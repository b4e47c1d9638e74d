"""Engines run a torch module's forward. An encoder is given one and never asks which it is.

`engine_builders(settings)` gives one builder for each device; a builder turns a module and an
example of its inputs into an Engine, a plain function from tensors to a float32 array. Another
runtime is another builder in `_BUILDERS`: the example inputs are there for those that must trace
or compile the module.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from mesh.errors import MeshError
from mesh.settings import NodeSettings

Inputs = Mapping[str, torch.Tensor]
Engine = Callable[[Inputs], npt.NDArray[np.float32]]
EngineBuilder = Callable[[torch.nn.Module, Inputs], Engine]

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class DeviceMissing(MeshError):
    """torch can't compute on one of MESH_DEVICES. The node must not start."""


def torch_engine(
    module: torch.nn.Module, example: Inputs, *, device: str, dtype: torch.dtype
) -> Engine:
    """Run `module(**inputs)` by torch itself, without gradients, on one device.

    bfloat16 runs under autocast, which keeps the sums that need it in float32.
    """
    del example  # torch needs no tracing
    target = torch.device(device)
    module = module.to(target).eval().requires_grad_(False)

    def run(inputs: Inputs) -> npt.NDArray[np.float32]:
        with (
            torch.inference_mode(),
            torch.autocast(target.type, dtype, enabled=dtype != torch.float32),
        ):
            output = module(**{name: tensor.to(target) for name, tensor in inputs.items()})
        array: npt.NDArray[np.float32] = output.float().cpu().numpy()
        return array

    return run


_BUILDERS: Final = {"torch": torch_engine}


def engine_class(settings: NodeSettings) -> str:
    """The name by which artifacts state their tolerance: "fp32" or "bf16"."""
    return "bf16" if settings.dtype == "bfloat16" else "fp32"


def engine_builders(settings: NodeSettings) -> list[EngineBuilder]:
    """One builder for each of MESH_DEVICES. Sets the threads of this process (MESH_THREADS).

    Raises DeviceMissing where one can't be used.
    """
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    build = _BUILDERS["torch" if settings.engine == "auto" else settings.engine]
    dtype = _DTYPES["float32" if settings.dtype == "auto" else settings.dtype]
    devices = [device.strip() for device in settings.devices.split(",")]
    for device in devices:
        _try(device)
    return [partial(build, device=device, dtype=dtype) for device in devices]


def _try(device: str) -> None:
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # The latter where torch has no such backend.
        reason = str(error).partition("\n")[0]
        raise DeviceMissing(f"MESH_DEVICES: {device!r} can't be used: {reason}") from error
