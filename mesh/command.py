"""The command of a node: `python -m services.text_encoder [measure]`.

    settings -> measure, where the engine cache knows too little -> load -> serve (mesh.node)

To measure takes every engine that there is, torch among them, whose memory a process never gives
back. So another process does that and ends: the same command with `measure`, by which the engine
cache can also be filled ahead of a start.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import structlog

from mesh.engine import is_on_cpu
from mesh.engine_cache import EngineCache
from mesh.errors import MeshError
from mesh.loading import (
    LoadClassifier,
    LoadEncoder,
    load_encoder,
    load_fusion,
    measure_encoder,
    measure_fusion,
)
from mesh.node import Service, end, serve
from mesh.runtime import LONG_SLICE, SHORT_SLICE, end_with_parent
from mesh.settings import NodeSettings, load
from mesh.telemetry import configure_logging

log = structlog.stdlib.get_logger(__name__)

Measure = Callable[[NodeSettings], None]


def run_encoder(package: str, folder: str, load_one: LoadEncoder) -> None:
    """Be an encoder's node; `folder` is its part of MESH_MODEL."""
    measure = partial(measure_encoder, folder=folder, load=load_one)
    _run(package, partial(load_encoder, folder=folder, load=load_one), measure, LONG_SLICE)


def run_fusion(package: str, load_one: LoadClassifier) -> None:
    """Be a node of fusion."""
    measure = partial(measure_fusion, load=load_one)
    # It does little, and all that is left of a request waits for it.
    _run(package, partial(load_fusion, load=load_one), measure, SHORT_SLICE)


def import_ahead() -> None:
    """Import what a node imports only once it loads, into a process of which nodes are forks."""
    import uvicorn.lifespan.on
    import uvicorn.protocols.http.auto
    import uvicorn.protocols.websockets.auto  # noqa: F401

    import mesh.openvino_engine  # noqa: F401
    from mesh.openvino_model import openvino

    if importlib.util.find_spec("openvino"):
        openvino()


def _run(
    package: str, load_it: Callable[..., Service], measure: Measure, slice_seconds: float
) -> None:
    name, settings = package.rpartition(".")[2].replace("_", "-"), load(NodeSettings)
    match sys.argv[1:]:
        case []:
            apart = partial(_measure_apart, package) if _pays(settings) else None
            serve(name, settings, partial(load_it, measure=apart), slice_seconds)
        case ["measure", *parent]:
            configure_logging(name, settings.log_level)
            if parent:
                end_with_parent(int(parent[0]))
            end(_measure(settings, measure))
        case _:
            sys.exit(f"usage: python -m {package} [measure]")


def _pays(settings: NodeSettings) -> bool:
    """Whether what is found is kept, and this process may get along without torch."""
    return settings.engine != "torch" and is_on_cpu(settings) and EngineCache.of(settings).keeps()


def _measure(settings: NodeSettings, measure: Measure) -> int:
    try:
        measure(settings)
    except MeshError as error:
        log.error("not_measured", reason=str(error))
        return 1
    return 0


def _measure_apart(package: str) -> None:
    """In a process of its own; where that fails, this one finds out for itself.

    Raises MeshError where that one was told to stop, as this one then was, too.
    """
    command = [sys.executable, "-m", package, "measure", str(os.getpid())]
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        log.warning("not_measured_apart", reason=str(error))
        return
    if code in (-signal.SIGINT, -signal.SIGTERM):
        raise MeshError("stopped while it was measured which engine is the best")
    if code != 0:
        log.warning("not_measured_apart", reason=f"exit code {code}")
