"""The openvino engine: a network converted once, kept on disk, and compiled at each start.

Converting takes seconds and needs torch; compiling what is kept takes tenths of one, and its
weights are mapped from the file, so that processes on one machine share them.
"""

import hashlib
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import LifoQueue
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import structlog

from mesh.artifact import Artifact
from mesh.engine import Array, Engine, EngineUnsuitable, Inputs, MakeNetwork
from mesh.engine_cache import EngineCache, Key

log = structlog.stdlib.get_logger(__name__)

MODEL: Final = "model.xml"


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
    precision = _precision(setup.dtype)
    model = _quantized(setup.artifact) if setup.dtype == "int8" else _kept(make, example, setup)
    idle: LifoQueue[Any] = LifoQueue()  # The last one's memory is the warmest.
    for _ in range(setup.shape.workers):
        idle.put(_compile(model, precision, setup.shape).create_infer_request())

    def run(inputs: Inputs) -> Array:
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        request = idle.get()
        try:
            return _infer(request, arrays)
        finally:
            idle.put(request)

    return Engine(run, run(example).shape[1])


def _infer(request: Any, arrays: Mapping[str, Any]) -> Array:
    try:
        output: Array = request.infer(arrays, share_inputs=True)[0]
    except RuntimeError as error:
        # Callers are shown the error's own text, where openvino's details are no use.
        log.error("inference_failed", reason=_last(error))
        raise EngineUnsuitable("openvino can't run the network") from error
    return output


def openvino() -> Any:
    """The library. It must not tell its makers of every start, which its companion would do."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not installed"
    import openvino

    return openvino


@cache
def core() -> Any:
    """The runtime, one for the process."""
    return openvino().Core()


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 by itself."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _precision(dtype: str) -> str:
    """What is computed in, beside int8 where that was chosen for most."""
    if dtype not in ("float32", "bfloat16", "int8"):
        raise EngineUnsuitable(f"MESH_DTYPE: the openvino engine has no {dtype}")
    if dtype == "bfloat16" and not has_bfloat16():
        raise EngineUnsuitable("MESH_DTYPE: this CPU has no bfloat16")
    return "f32" if dtype == "float32" or not has_bfloat16() else "bf16"


def _compile(model: Any, precision: str, shape: Shape) -> Any:
    """For one batch at a time, which is computed on its caller's thread, wherever that may run.

    A model of several streams computes on threads of its own, which know no home core. A second
    model takes the three encoders together some 20 MB.
    """
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": shape.threads,
        "INFERENCE_PRECISION_HINT": precision,
        # Else every process on the machine pins its threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }
    if shape.workers > 1:  # Else it keeps to one thread a core, and workers share those.
        settings["ENABLE_HYPER_THREADING"] = True
    try:
        return core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise EngineUnsuitable(f"openvino can't compile the network: {_last(error)}") from error


def quantized_file(artifact: Path) -> Path:
    """Where the int8 form of an encoder's artifact lies: models/NAME/int8/text.xml."""
    return artifact.parent / "int8" / f"{artifact.name}.xml"


def _quantized(artifact: Artifact) -> Any:
    file = quantized_file(artifact.path)
    if not file.exists():
        raise EngineUnsuitable(f"MESH_DTYPE: there is no {file}; `training.quantize` makes it")
    try:
        model = core().read_model(file)
        made_of = model.get_rt_info("artifact").astype(str)
    except RuntimeError as error:
        raise EngineUnsuitable(f"openvino can't read {file}: {_last(error)}") from error
    if made_of != artifact.version:
        raise EngineUnsuitable(f"{file} was made of {made_of}, not of {artifact.version}")
    return model


def _kept(make: MakeNetwork, example: Inputs, setup: Setup) -> Any:
    """The converted network, from the cache or else put there."""
    key = _key(make, setup.artifact)
    if model := _read(setup.cache.read(key)):
        return model
    model = convert(make(), example)
    # Read even now: its weights are mapped then, and each start computes the same to the last bit.
    return _read(setup.cache.write(key, lambda part: save(model, part / MODEL))) or model


def _read(entry: Path | None) -> Any:
    """An entry's model; None without one, or where another process has just removed it."""
    try:
        return entry and core().read_model(entry / MODEL)
    except (OSError, RuntimeError, ValueError) as error:
        log.warning("engine_cache_not_read", folder=str(entry), reason=_last(error))
        return None


def _key(make: MakeNetwork, artifact: Artifact) -> Key:
    """All that a converted network depends on: weights, the network's code, and the library."""
    return {
        "version": artifact.version,
        "code": sources_hash(make.__module__),
        "openvino": openvino().__version__,
    }


def sources_hash(module: str) -> str:
    """SHA-256 over the source files of the package that a module is in."""
    digest = hashlib.sha256()
    for file in sorted(Path(str(sys.modules[module].__file__)).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def save(model: Any, file: Path) -> None:
    """Write a model's .xml, and its weights beside it as they are.

    Older files are replaced and never written into: a node may have their weights mapped.
    """
    with TemporaryDirectory(dir=file.parent, suffix=".part") as folder:
        part = Path(folder, file.name)
        openvino().save_model(model, part, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            os.replace(part.with_suffix(suffix), file.with_suffix(suffix))


def convert(network: Any, example: Inputs) -> Any:
    """A torch network as OpenVINO's model; EngineUnsuitable where there is no way."""
    from torch.nn import RNNBase

    if any(isinstance(layer, RNNBase) for layer in network.modules()):
        # An LSTM would convert, and read the padding as if it were tokens.
        raise EngineUnsuitable("openvino has no packed sequences, which recurrent layers need here")
    network.eval().requires_grad_(False)
    try:
        return _trace(network, example)
    except Exception as error:
        name = type(network).__name__
        raise EngineUnsuitable(f"openvino can't convert {name}: {_last(error)}") from error


def _trace(network: Any, example: Mapping[str, Any]) -> Any:
    import torch

    inputs = {name: torch.as_tensor(value) for name, value in example.items()}
    with warnings.catch_warnings():
        # Of code that might be another for other inputs; golden examples of other lengths tell.
        warnings.simplefilter("ignore")
        return openvino().convert_model(network, example_input=inputs)


def _last(error: Exception) -> str:
    """The line of openvino's long messages that says what it is about."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
