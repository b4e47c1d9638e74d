"""The openvino engine: a network that is kept as OpenVINO's model, compiled at each start.

That takes tenths of a second and no torch (mesh.openvino_model).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
import structlog

from mesh.artifact import Artifact
from mesh.engine import Array, Engine, EngineUnsuitable, Inputs, MakeNetwork
from mesh.engine_cache import EngineCache
from mesh.mapped import unload_files
from mesh.openvino_model import core, kept, kept_rounded, last_line, quantized
from mesh.openvino_rounding import GROUP

log = structlog.stdlib.get_logger(__name__)

# What a kind of layer needs for one shape of its input is kept for the next time: 5,000 of each
# kind unless told, as good as without an end where lengths differ. (Sounds of 260 lengths in 300
# batches: 580 MiB and growing, 460 with 200, as fast.) No documentation lists this property.
KEPT_KERNELS: Final = 200


class Shape(NamedTuple):
    """How many batches are computed at a time, and on how many threads each."""

    workers: int
    threads: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What a builder of this engine has besides the network."""

    dtype: str
    shape: Shape
    artifact: Artifact
    cache: EngineCache


def openvino_engine(make: MakeNetwork, example: Inputs, *, setup: Setup) -> Engine:
    """Run a network by OpenVINO on the CPU, for batches of any size and items of any length.

    Raises EngineUnsuitable where the network can't be converted or run, or the CPU has no such
    dtype.
    """
    settings = _settings(setup)
    model = _model(make, example, setup)
    compiled = _Compiled(partial(_compile, model, settings), setup.shape.workers)

    def run(inputs: Inputs) -> Array:
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        with compiled.request() as request:
            return _infer(request, arrays)

    dim = run(example).shape[1]
    unload_files()
    return Engine(run, dim, release=compiled.release)


def _model(make: MakeNetwork, example: Inputs, setup: Setup) -> Any:
    """The network in the form that the dtype asks for."""
    match setup.dtype:
        case "int8":
            return quantized(setup.artifact)
        case "int8_dynamic":
            return kept_rounded(make, example, setup.artifact, setup.cache)
        case _:
            return kept(make, example, setup.artifact, setup.cache)


class _Compiled:
    """A model for each batch that is computed at a time, compiled when there first is one more."""

    def __init__(self, compile_one: Callable[[], Any], most: int) -> None:
        self._compile = compile_one
        self._idle: LifoQueue[Any] = LifoQueue()  # The last one's memory is the warmest.
        self._lock = Lock()
        self._left = most - 1
        self._idle.put(compile_one())

    @contextmanager
    def request(self) -> Iterator[Any]:
        """What computes, and nobody else uses meanwhile."""
        idle = self._idle_one()
        further = None if idle else self._another()
        request = idle or further or self._idle.get()
        try:
            yield request
        finally:
            if further:  # By now it has its own form of all that it needs of the file.
                unload_files()
            self._idle.put(request)

    def release(self) -> None:
        """Give back what those that compute nothing now keep for the next inputs."""
        for request in list(iter(self._idle_one, None)):
            try:
                request.get_compiled_model().release_memory()
            except RuntimeError as error:  # It computes on all the same.
                log.warning("memory_not_released", reason=last_line(error))
            finally:
                self._idle.put(request)

    def _idle_one(self) -> Any:
        with suppress(Empty):
            return self._idle.get_nowait()

    def _another(self) -> Any:
        """One more; None where there are all, or where it can't be had: those that are go on."""
        with self._lock:
            self._left, may_grow = max(0, self._left - 1), self._left > 0
        if may_grow:
            try:
                return self._compile()
            except (EngineUnsuitable, MemoryError) as error:
                log.warning("no_further_model", reason=str(error))
        return None


def _infer(request: Any, arrays: Mapping[str, Any]) -> Array:
    try:
        output: Array = request.infer(arrays, share_inputs=True)[0]
    except RuntimeError as error:
        # Callers are shown the error's own text, where openvino's details are no use.
        log.error("inference_failed", reason=last_line(error))
        raise EngineUnsuitable("openvino can't run the network") from error
    return output


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 by itself."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _precision(dtype: str) -> str:
    """What is computed in, beside int8 where that was chosen for most."""
    if dtype not in ("float32", "bfloat16", "int8", "int8_dynamic"):
        raise EngineUnsuitable(f"MESH_DTYPE: the openvino engine has no {dtype}")
    if dtype == "bfloat16" and not has_bfloat16():
        raise EngineUnsuitable("MESH_DTYPE: this CPU has no bfloat16")
    return "bf16" if dtype in ("bfloat16", "int8") and has_bfloat16() else "f32"


def _settings(setup: Setup) -> dict[str, Any]:
    """For one batch at a time, which is computed on its caller's thread, wherever that may run.

    A model of several streams computes on threads of its own, which know no home core.
    """
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": setup.shape.threads,
        "INFERENCE_PRECISION_HINT": _precision(setup.dtype),
        # Else every process on the machine pins its threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": KEPT_KERNELS,
    }
    if setup.shape.workers > 1:  # Else it keeps to one thread a core, and workers share those.
        settings["ENABLE_HYPER_THREADING"] = True
    if setup.dtype == "int8_dynamic":
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
    return settings


def _compile(model: Any, settings: Mapping[str, Any]) -> Any:
    try:
        return core().compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise EngineUnsuitable(f"openvino can't compile the network: {last_line(error)}") from error
