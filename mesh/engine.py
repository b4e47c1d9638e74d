"""Engines run a network's forward. An encoder is given one and never asks which it is.

    engine = build(make_network, example)    # `build` is an EngineBuilder
    vectors = engine(inputs)                 # float32 of shape (items, engine.dim)

A builder is given what makes the network and not the network itself: an engine that was compiled
at an earlier start needs none, nor torch. The example inputs are there for those that must trace
the network. `kinds` says which engines settings allow, `builders` makes one's builders; another
runtime is another entry of `_BUILDERS`. Importing this module imports no runtime.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mesh.artifact import Artifact, ArtifactError
from mesh.engine_cache import EngineCache
from mesh.errors import MeshError
from mesh.settings import NodeSettings

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[np.float32]
Inputs = Mapping[str, "torch.Tensor | npt.NDArray[Any]"]
MakeNetwork = Callable[[], "torch.nn.Module"]


class DeviceMissing(MeshError):
    """torch can't compute on one of MESH_DEVICES. The node must not start."""


class EngineUnsuitable(ArtifactError):
    """An engine is not there, or can't run a network; another engine may."""


def _as_it_is(length: int) -> int:
    return length


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Engine:
    """One network on one device. As many threads at a time may call it as MESH_WORKERS says.

    `length` says how long it likes the inputs to be for a batch whose longest item is so long;
    `release` gives back the memory that it keeps for the largest inputs so far.
    """

    run: Callable[[Inputs], Array]
    dim: int
    length: Callable[[int], int] = _as_it_is
    release: Callable[[], None] = _nothing

    def __call__(self, inputs: Inputs) -> Array:
        """A batch: float32 of shape (items, dim)."""
        return self.run(inputs)


EngineBuilder = Callable[[MakeNetwork, Inputs], Engine]


class Kind(NamedTuple):
    """An engine and what it computes in, by the names of MESH_ENGINE and MESH_DTYPE."""

    engine: str
    dtype: str

    @property
    def tolerance(self) -> str:
        """The name by which artifacts state how far its outputs may be off: "fp32" or "bf16".

        What is as coarse as bfloat16 is held to the same.
        """
        return "fp32" if self.dtype == "float32" else "bf16"


def kinds(settings: NodeSettings) -> list[Kind]:
    """Every kind of engine that MESH_ENGINE and MESH_DTYPE allow here.

    The last one is what an artifact's golden examples were computed by, where it is allowed.
    """
    auto = _ON_CPU if is_on_cpu(settings) else _ELSEWHERE
    engines: list[str] = [settings.engine]
    if settings.engine == "auto":
        engines = [name for name in auto if name != "openvino" or _is_installed("openvino")]
    found = []
    for engine in engines:
        dtypes = auto.get(engine, ()) if settings.dtype == "auto" else [settings.dtype]
        found += [Kind(engine, dtype) for dtype in dtypes or ["float32"]]
    return found


# What "auto" tries: all that may be fast, and needs no file of its own. Golden examples can't tell
# where float16, of a smaller range, would overflow.
_ON_CPU: Final[Mapping[str, Sequence[str]]] = {
    "openvino": ("int8_dynamic", "bfloat16", "float32"),
    "torch": ("bfloat16", "float32"),
}
_ELSEWHERE: Final[Mapping[str, Sequence[str]]] = {
    "cuda_graphs": ("bfloat16", "float32"),
    "torch": ("bfloat16", "float32"),
}


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def is_on_cpu(settings: NodeSettings) -> bool:
    """Whether MESH_DEVICES names no other device: the model then computes where all else does."""
    return set(devices(settings)) == {"cpu"}


def devices(settings: NodeSettings) -> list[str]:
    """The names in MESH_DEVICES."""
    return [device.strip() for device in settings.devices.split(",")]


def threads(settings: NodeSettings) -> int:
    """How many threads a forward pass may take."""
    return settings.threads or os.cpu_count() or 1


def is_on_one_thread(settings: NodeSettings) -> bool:
    """Whether a forward pass is the work of one thread of this process."""
    return threads(settings) == 1 and is_on_cpu(settings)


def prepare(settings: NodeSettings) -> None:
    """Make torch, where this process has it, keep to MESH_THREADS.

    Raises DeviceMissing where one of MESH_DEVICES can't be used.
    """
    if not is_on_cpu(settings):
        from mesh.torch_engine import try_device

        for device in devices(settings):
            try_device(device)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads(settings))


def builders(kind: Kind, settings: NodeSettings, artifact: Artifact) -> list[EngineBuilder]:
    """One builder of this kind for each of MESH_DEVICES.

    Raises EngineUnsuitable where the engine is not installed or has no such dtype or device.
    """
    return _BUILDERS[kind.engine](kind, settings, artifact)


def noting(build: EngineBuilder, engines: list[Engine]) -> EngineBuilder:
    """The same builder, which puts what it builds into the list as well."""

    def build_and_note(make: MakeNetwork, example: Inputs) -> Engine:
        engines.append(build(make, example))
        return engines[-1]

    return build_and_note


def _torch_builders(kind: Kind, settings: NodeSettings, artifact: Artifact) -> list[EngineBuilder]:
    from mesh.torch_engine import DTYPES, torch_engine

    if kind.dtype not in DTYPES:
        raise EngineUnsuitable(f"MESH_DTYPE: the {kind.engine} engine has no {kind.dtype}")
    prepare(settings)  # Now at the latest torch is there.
    build = partial(torch_engine, dtype=DTYPES[kind.dtype])
    if kind.engine == "cuda_graphs":
        from mesh.cuda_graphs import cuda_graphs_engine

        build = partial(cuda_graphs_engine, dtype=DTYPES[kind.dtype], workers=settings.workers)
    return [partial(build, device=name) for name in devices(settings)]


def _openvino_builders(
    kind: Kind, settings: NodeSettings, artifact: Artifact
) -> list[EngineBuilder]:
    if not _is_installed("openvino"):
        raise EngineUnsuitable("MESH_ENGINE: openvino is not installed")
    if not is_on_cpu(settings):
        raise EngineUnsuitable("MESH_DEVICES: the openvino engine runs on the cpu alone")
    from mesh.openvino_engine import Setup, Shape, openvino_engine

    shape = Shape(settings.workers, threads(settings))
    setup = Setup(kind.dtype, shape, artifact, EngineCache.of(settings))
    return [partial(openvino_engine, setup=setup) for _ in devices(settings)]


_BUILDERS: Final = {
    "torch": _torch_builders,
    "cuda_graphs": _torch_builders,
    "openvino": _openvino_builders,
}
