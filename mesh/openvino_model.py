"""Networks as OpenVINO's models: converted once, kept on disk, read at each start.

Converting takes seconds and needs torch. What is kept is read in no time, and its weights are
mapped from the file, so that processes on one machine share them.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog

from mesh.artifact import Artifact
from mesh.engine import EngineUnsuitable, Inputs, MakeNetwork
from mesh.engine_cache import EngineCache, Key, sources_hash
from mesh.openvino_rounding import RULE, round_matrices

log = structlog.stdlib.get_logger(__name__)

MODEL: Final = "model.xml"


def openvino() -> Any:
    """The library. It must not tell its makers of every start, which its companion would do."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not installed"
    import openvino

    return openvino


@cache
def core() -> Any:
    """The runtime, one for the process."""
    return openvino().Core()


def quantized_file(artifact: Path) -> Path:
    """Where the int8 form of an encoder's artifact lies: models/NAME/int8/text.xml."""
    return artifact.parent / "int8" / f"{artifact.name}.xml"


def quantized(artifact: Artifact) -> Any:
    """The int8 form of an encoder; EngineUnsuitable where there is none of this very artifact."""
    file = quantized_file(artifact.path)
    if not file.exists():
        raise EngineUnsuitable(f"MESH_DTYPE: there is no {file}; `training.quantize` makes it")
    try:
        model = core().read_model(file)
        made_of = model.get_rt_info("artifact").astype(str)
    except RuntimeError as error:
        raise EngineUnsuitable(f"openvino can't read {file}: {last_line(error)}") from error
    if made_of != artifact.version:
        raise EngineUnsuitable(f"{file} was made of {made_of}, not of {artifact.version}")
    return model


def kept(make: MakeNetwork, example: Inputs, artifact: Artifact, cache: EngineCache) -> Any:
    """The converted network, from the cache or else put there."""
    return _kept(_key(make, artifact), lambda: convert(make(), example), cache)


def kept_rounded(make: MakeNetwork, example: Inputs, artifact: Artifact, cache: EngineCache) -> Any:
    """The same with its matrices rounded, as mesh.openvino_rounding does it."""

    def rounded() -> Any:
        model = kept(make, example, artifact, cache)
        round_matrices(model)
        return model

    return _kept({**_key(make, artifact), "rounded": RULE}, rounded, cache)


def _kept(key: Key, make: Callable[[], Any], cache: EngineCache) -> Any:
    if model := _read(cache.read(key)):
        return model
    model = make()
    # Read even now: its weights are mapped then, and each start computes the same to the last bit.
    return _read(cache.write(key, lambda part: save(model, part / MODEL))) or model


def _read(entry: Path | None) -> Any:
    """An entry's model; None without one, or where another process has just removed it."""
    try:
        return entry and core().read_model(entry / MODEL)
    except (OSError, RuntimeError, ValueError) as error:
        log.warning("engine_cache_not_read", folder=str(entry), reason=last_line(error))
        return None


def _key(make: MakeNetwork, artifact: Artifact) -> Key:
    """All that a converted network depends on: weights, the network's code, and the library."""
    return {
        "version": artifact.version,
        "code": sources_hash(make.__module__),
        "openvino": openvino().__version__,
    }


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
        raise EngineUnsuitable(f"openvino can't convert {name}: {last_line(error)}") from error


def _trace(network: Any, example: Mapping[str, Any]) -> Any:
    import torch

    inputs = {name: torch.as_tensor(value) for name, value in example.items()}
    with warnings.catch_warnings():
        # Of code that might be another for other inputs; golden examples of other lengths tell.
        warnings.simplefilter("ignore")
        return openvino().convert_model(network, example_input=inputs)


def last_line(error: Exception) -> str:
    """The line of openvino's long messages that says what it is about."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
