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
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class Engine:
    """One network on one device. As many threads at a time may call it as MESH_WORKERS says."""

    run: Callable[[Inputs], Array]
    dim: int

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
    engines = [settings.engine]
    if settings.engine == "auto":
        is_possible = is_on_cpu(settings) and importlib.util.find_spec("openvino")
        engines = ["openvino", "torch"] if is_possible else ["torch"]
    found = []
    for engine in engines:
        dtypes = _AUTO[engine] if settings.dtype == "auto" else [settings.dtype]
        found += [Kind(engine, dtype) for dtype in dtypes]
    return found


# What "auto" tries: all that may be fast, and needs no file of its own.
_AUTO: Final = {
    "openvino": ("int8_dynamic", "bfloat16", "float32"),
    "torch": ("bfloat16", "float32"),
}


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


def _torch_builders(kind: Kind, settings: NodeSettings, artifact: Artifact) -> list[EngineBuilder]:
    from mesh.torch_engine import DTYPES, torch_engine

    if kind.dtype not in DTYPES:
        raise EngineUnsuitable(f"MESH_DTYPE: the torch engine has no {kind.dtype}")
    prepare(settings)  # Now at the latest torch is there.
    dtype = DTYPES[kind.dtype]
    return [partial(torch_engine, device=name, dtype=dtype) for name in devices(settings)]


def _openvino_builders(
    kind: Kind, settings: NodeSettings, artifact: Artifact
) -> list[EngineBuilder]:
    if not importlib.util.find_spec("openvino"):
        raise EngineUnsuitable("MESH_ENGINE: openvino is not installed")
    if not is_on_cpu(settings):
        raise EngineUnsuitable("MESH_DEVICES: the openvino engine runs on the cpu alone")
    from mesh.openvino_engine import Setup, Shape, openvino_engine

    shape = Shape(settings.workers, threads(settings))
    setup = Setup(kind.dtype, shape, artifact, EngineCache.of(settings))
    return [partial(openvino_engine, setup=setup) for _ in devices(settings)]


_BUILDERS: Final = {"torch": _torch_builders, "openvino": _openvino_builders}
