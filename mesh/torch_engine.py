"""The torch engine: a network as it is, on a CPU or on CUDA."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch

from mesh.allocator import keep_freed_memory
from mesh.engine import Array, DeviceMissing, Engine, Inputs, MakeNetwork

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# The layers whose weights autocast makes coarser.
MATRICES: Final = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)


def torch_engine(make: MakeNetwork, example: Inputs, *, device: str, dtype: torch.dtype) -> Engine:
    """Run `network(**inputs)` by torch itself, without gradients, on one device.

    What is coarser than float32 runs under autocast, which keeps the sums that need it in float32.
    """
    target = torch.device(device)
    if target.type == "cpu":
        keep_freed_memory()
    network = network_on(make, target, dtype)
    move, own_stream = _mover(target), _streams(target)

    def run(inputs: Inputs) -> Array:
        with (
            own_stream(),
            torch.inference_mode(),
            torch.autocast(target.type, dtype, enabled=dtype != torch.float32),
        ):
            output = network(**{name: move(value) for name, value in inputs.items()})
            # Still on the stream, which this waits for.
            array: Array = output.float().cpu().numpy()
        return array

    return Engine(run, run(example).shape[1])


def network_on(make: MakeNetwork, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """The network on its device, to be run and not trained.

    On CUDA its matrices are in `dtype` from then on: autocast would make them so at every batch.
    """
    network = make().to(device).eval().requires_grad_(False)
    if device.type == "cuda" and dtype != torch.float32:
        for layer in network.modules():
            if isinstance(layer, MATRICES):
                layer.to(dtype)
        torch.cuda.synchronize(device)  # Other streams will read what this one writes.
    return network


def stream_on(device: torch.device) -> torch.cuda.Stream:
    """One more stream: what is on it waits for nothing that is on another one."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own


def _streams(target: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """What lets a thread compute on a stream of its own, where the device has such."""
    if target.type != "cuda":
        return nullcontext
    own = threading.local()

    def stream() -> AbstractContextManager[object]:
        if not hasattr(own, "stream"):
            own.stream = stream_on(target)
        return torch.cuda.stream(own.stream)

    return stream


def _mover(target: torch.device) -> Callable[[Any], torch.Tensor]:
    """From tensors or arrays to tensors on the device. To CUDA without waiting for the copy."""
    if target.type != "cuda":
        return lambda value: torch.as_tensor(value).to(target)
    return lambda value: torch.as_tensor(value).pin_memory().to(target, non_blocking=True)


def names_of(devices: Sequence[str]) -> list[str]:
    """What they are called by those who made them; of a GPU its speed depends on that."""
    targets = map(torch.device, devices)
    return [torch.cuda.get_device_name(t) if t.type == "cuda" else t.type for t in targets]


def try_device(device: str) -> None:
    """Raises DeviceMissing where torch can't compute on it."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # The latter where torch has no such backend.
        reason = str(error).partition("\n")[0]
        raise DeviceMissing(f"MESH_DEVICES: {device!r} can't be used: {reason}") from error
