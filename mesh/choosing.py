"""Which engine, in which dtype, runs an artifact: the fastest whose outputs are right.

What was found is kept in the engine cache, so that only the first start on a machine takes the time
to look for it.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog

from mesh.artifact import Artifact
from mesh.calibration import BUDGET, GAIN, PER_BATCH, TURNS
from mesh.engine import EngineUnsuitable, Kind, devices, is_on_cpu, kinds
from mesh.engine_cache import EngineCache, sources_hash
from mesh.golden import GoldenMismatch
from mesh.openvino_rounding import GROUP, RULE
from mesh.settings import NodeSettings

log = structlog.stdlib.get_logger(__name__)

M = TypeVar("M")

CHOICE: Final = "choice.json"
# Float32 is taken unless another dtype saves this share of the time.
WORTHWHILE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Trial(Generic[M]):
    """A kind of engine that holds, the model that it runs, and its seconds per item."""

    kind: Kind
    model: M
    seconds: float

    @property
    def rank(self) -> float:
        """The least is the best."""
        return self.seconds * (1 - WORTHWHILE if self.kind.dtype == "float32" else 1)


def choose(
    allowed: Sequence[Kind], load: Callable[[Kind], M], seconds: Callable[[M], float]
) -> tuple[Kind, M]:
    """The fastest of these kinds, and what `load` gives for it; `seconds` measures a model.

    `load` raises EngineUnsuitable or GoldenMismatch for a kind that won't do; the last one's error
    is raised where none will. A single kind isn't measured.
    """
    if len(allowed) == 1:
        return first(allowed, load)
    holding = list(_holding(allowed, load))
    # In turns: for a second or two a processor may be slow, which must not befall one kind alone.
    turns = [[seconds(model) for _, model in holding] for _ in range(TURNS)]
    trials = [
        _measured(kind, model, min(times))
        for (kind, model), times in zip(holding, zip(*turns, strict=True), strict=True)
    ]
    best = min(trials, key=lambda trial: trial.rank)
    return best.kind, best.model


def first(allowed: Sequence[Kind], load: Callable[[Kind], M]) -> tuple[Kind, M]:
    """The first of these kinds that will do, and what `load` gives for it; else as `choose`."""
    return next(_holding(allowed, load))


def _holding(allowed: Sequence[Kind], load: Callable[[Kind], M]) -> Iterator[tuple[Kind, M]]:
    holds = False
    for kind in allowed:
        try:
            model = load(kind)
        except (EngineUnsuitable, GoldenMismatch) as error:
            if kind == allowed[-1] and not holds:
                raise
            log.info("engine_ruled_out", **kind._asdict(), reason=str(error))
        else:
            holds = True
            yield kind, model


def _measured(kind: Kind, model: M, seconds: float) -> Trial[M]:
    log.info("engine_measured", **kind._asdict(), milliseconds=round(1e3 * seconds, 3))
    return Trial(kind, model, seconds)


def known_choice(
    settings: NodeSettings, artifact: Artifact, module: str
) -> Mapping[str, Any] | None:
    """What an earlier start on this machine found among the same kinds, where the cache has it.

    `engine` and `dtype`; and `max_batch_cost` and `micro_batch_cost`, where these were measured.
    `module` is one of the package that computes: other code is another thing to measure, and to
    convert.
    """
    folder = EngineCache.of(settings).read(_key(settings, artifact, module))
    if folder is None:
        return None
    try:
        choice: dict[str, Any] = json.loads((folder / CHOICE).read_text())
        return choice
    except (OSError, ValueError):  # Another process has just removed it.
        return None


def keep_choice(
    settings: NodeSettings, artifact: Artifact, module: str, choice: Mapping[str, Any]
) -> None:
    """Keep what was found for the next start, in the place of what was found before."""
    cache, text = EngineCache.of(settings), json.dumps(choice)
    key = _key(settings, artifact, module)
    cache.forget(key)
    cache.write(key, lambda folder: _write(folder / CHOICE, text))


def _write(file: Path, text: str) -> None:
    file.write_text(text)


_DECISIVE: Final = {"engine", "dtype", "devices", "threads", "workers", "max_batch"}


def _key(settings: NodeSettings, artifact: Artifact, module: str) -> dict[str, Any]:
    """All that decides which engine is the fastest, and which batch the best."""
    return {
        "version": artifact.version,
        "code": sources_hash(module),
        "allowed": [" ".join(kind) for kind in kinds(settings)],
        "asked": settings.model_dump(include=_DECISIVE),
        "libraries": {name: _installed(name) for name in ("openvino", "torch")},
        "processor": processor(),
        "devices": _device_names(settings),
        "rounding": {"rule": RULE, "group": GROUP},
        "rule": [WORTHWHILE, BUDGET, GAIN, PER_BATCH, TURNS],
    }


def _device_names(settings: NodeSettings) -> list[str]:
    if is_on_cpu(settings):  # Without torch, which a node may never need there.
        return []
    from mesh.torch_engine import names_of

    return names_of(devices(settings))


def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@cache
def processor() -> str:
    """What kind of processor this is, with all that it can do, as a hash; and how many cores."""
    try:
        lines = set(Path("/proc/cpuinfo").read_text().splitlines())
        told = sorted(
            line for line in lines if line.startswith(("model name", "flags", "Features"))
        )
    except OSError:
        told = [platform.machine(), platform.processor()]
    return f"{hashlib.sha256(repr(told).encode()).hexdigest()[:16]} x {os.cpu_count()}"
