"""The cuda_graphs engine: what a GPU does for a batch, recorded once for each shape and replayed.

Left to itself a small network leaves a GPU waiting: Python launches its hundreds of kernels one by
one. A CUDA graph launches all of them at once, but only for the shapes and the memory that it was
recorded with (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). So batches are
filled up to few shapes: 1, 2, 4, 8, ... items, by repeating the last one, and lengths of which each
is at most an eighth of its power of two above the last, by the encoder's own padding.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Condition
from typing import Final

import structlog
import torch

from mesh.engine import Array, Engine, EngineUnsuitable, Inputs, MakeNetwork
from mesh.torch_engine import network_on, stream_on

log = structlog.stdlib.get_logger(__name__)

# Before it, a recording that failed could leave torch's allocator in the middle of one.
LEAST_TORCH: Final = (2, 13)
# Shapes of which each stream keeps the graph; that used least recently goes first.
KEPT: Final = 512
# Libraries choose their kernels in the first runs, which must not be recorded.
WARM_RUNS: Final = 3
# Lengths between one power of two and the next.
STEPS: Final = 4

Tensors = Mapping[str, torch.Tensor]
Compute = Callable[[Tensors], Array]


def cuda_graphs_engine(
    make: MakeNetwork, example: Inputs, *, device: str, dtype: torch.dtype, workers: int
) -> Engine:
    """Run a network by CUDA graphs, `workers` batches at a time, each on a stream of its own.

    Raises EngineUnsuitable on other devices, and for networks that can't be recorded: those that
    look at the numbers which they compute, as recurrent ones do here.
    """
    target = torch.device(device)
    if target.type != "cuda":
        raise EngineUnsuitable(f"MESH_DEVICES: the cuda_graphs engine has no {device!r}")
    if tuple(map(int, torch.__version__.split(".")[:2])) < LEAST_TORCH:
        raise EngineUnsuitable(
            f"MESH_ENGINE: cuda_graphs needs torch 2.13, not {torch.__version__}"
        )
    network = network_on(make, target, dtype)
    # In turns, so that all of them are warm.
    streams: SimpleQueue[Shapes] = SimpleQueue()
    for _ in range(workers):
        stream = _Stream(network, target, dtype)
        streams.put(Shapes(stream.recorded, stream.compute))

    def run(inputs: Inputs) -> Array:
        shapes = streams.get()
        try:
            return shapes({name: torch.as_tensor(value) for name, value in inputs.items()})
        finally:
            streams.put(shapes)

    first = filled({name: torch.as_tensor(value) for name, value in example.items()})
    try:
        _Stream(network, target, dtype).recorded(first)(first)
    except RuntimeError as error:
        raise EngineUnsuitable(
            f"a CUDA graph can't record the network: {_reason(error)}"
        ) from error
    return Engine(run, run(example).shape[1], length)


def length(wanted: int) -> int:
    """To how much a batch is padded, whose longest item is so long."""
    step = max(1, (1 << max(0, wanted - 1).bit_length()) // (2 * STEPS))
    return -(-wanted // step) * step


def filled(inputs: Tensors) -> dict[str, torch.Tensor]:
    """A batch with its last item again and again, until there are 1, 2, 4, 8, ... items."""
    count = len(next(iter(inputs.values())))
    missing = (1 << (count - 1).bit_length()) - count
    if not missing:
        return dict(inputs)
    # One by one, which keeps a picture's channels last in memory.
    return {name: torch.cat([value, *[value[-1:]] * missing]) for name, value in inputs.items()}


class Shapes:
    """Computes batches of any shape, by what was recorded for it where it can be. For one thread.

    A shape that can't be recorded, as where memory is short, is computed plainly.
    """

    def __init__(self, record: Callable[[Tensors], Compute], plainly: Compute) -> None:
        self._record = record
        self._plainly = plainly
        self._kept: OrderedDict[object, Compute] = OrderedDict()

    def __call__(self, inputs: Tensors) -> Array:
        """A batch: float32 of shape (items, dim)."""
        whole = filled(inputs)
        shape = tuple((name, value.shape) for name, value in whole.items())
        if shape not in self._kept:
            if len(self._kept) == KEPT:
                self._kept.popitem(last=False)
            self._kept[shape] = self._recorded(whole)
        self._kept.move_to_end(shape)
        return self._kept[shape](whole)[: len(next(iter(inputs.values())))]

    def _recorded(self, inputs: Tensors) -> Compute:
        try:
            return self._record(inputs)
        except RuntimeError as error:
            shapes = {name: list(value.shape) for name, value in inputs.items()}
            log.warning("no_cuda_graph", shapes=shapes, reason=_reason(error))
            return self._plainly


def _reason(error: BaseException) -> str:
    """What was not allowed; the end of a recording only says that something before it was not."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0]


class Turns:
    """Batches run together, and a recording alone: nothing else may use CUDA meanwhile."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._running = 0
        self._recording = 0  # Or about to: else there might always be a batch.

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a batch."""
        with self._changed:
            self._changed.wait_for(lambda: not self._recording)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Record."""
        with self._changed:
            self._recording += 1
            try:
                self._changed.wait_for(lambda: not self._running)
                yield
            finally:
                self._recording -= 1
                self._changed.notify_all()


# Of all devices: what a thread records is no other thread's business, but CUDA's allocators are.
_turns: Final = Turns()


class _Stream:
    """A network on a stream of its own, where one batch at a time is computed."""

    def __init__(self, network: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self._network = network
        self._device = device
        self._dtype = dtype
        self._stream = stream_on(device)
        # Graphs of one stream never run together, so that they may share memory.
        self._pool = torch.cuda.graph_pool_handle()
        # By input: memory of this machine that a GPU can read by itself, as much as any shape took.
        self._pinned: dict[str, torch.Tensor] = {}

    def compute(self, inputs: Tensors) -> Array:
        """A batch, without a graph."""
        with _turns.together(), torch.inference_mode(), torch.cuda.stream(self._stream):
            there = {name: self._sent(name, value) for name, value in inputs.items()}
            array: Array = self._forward(there).cpu().numpy()
        return array

    def recorded(self, inputs: Tensors) -> Compute:
        """What computes batches of this very shape. RuntimeError where nothing can be recorded."""
        with _turns.alone(), torch.inference_mode(), torch.cuda.stream(self._stream):
            there = {name: self._sent(name, value) for name, value in inputs.items()}
            for _ in range(WARM_RUNS):
                self._forward(there)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, self._pool, self._stream, "thread_local"):
                output = self._forward(there)
        return partial(self._replay, graph, there, output)

    def _replay(
        self, graph: torch.cuda.CUDAGraph, there: Tensors, output: torch.Tensor, inputs: Tensors
    ) -> Array:
        with _turns.together(), torch.inference_mode(), torch.cuda.stream(self._stream):
            for name, value in inputs.items():
                there[name].copy_(self._staged(name, value), non_blocking=True)
            graph.replay()
            array: Array = output.cpu().numpy()
        return array

    def _sent(self, name: str, value: torch.Tensor) -> torch.Tensor:
        return self._staged(name, value).to(self._device, non_blocking=True)

    def _staged(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """The input in pinned memory, whose last copy to the GPU is done by then."""
        if name not in self._pinned or self._pinned[name].numel() < value.numel():
            self._pinned[name] = torch.empty(value.numel(), dtype=value.dtype).pin_memory()
        # Laid out as the input is: pictures come with their channels last, and are computed so.
        strides = torch.empty_like(value, device="meta").stride()
        return self._pinned[name][: value.numel()].as_strided(value.shape, strides).copy_(value)

    def _forward(self, inputs: Tensors) -> torch.Tensor:
        # Without its cache: a graph would read what is in it by then.
        enabled = self._dtype != torch.float32
        with torch.autocast("cuda", self._dtype, enabled=enabled, cache_enabled=False):
            output: torch.Tensor = self._network(**inputs)
        return output.float()
