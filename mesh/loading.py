"""From settings to a service that may be served: artifacts, engines, golden examples.

What a node's `__main__` names is only which folder and which class.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from mesh.allocator import give_back_free
from mesh.artifact import Artifact
from mesh.calibration import best_costs, clock_of, core_seconds, seconds_per_item, usual
from mesh.choosing import choose, first, keep_choice, known_choice
from mesh.classifying import Classifier
from mesh.encoder_service import EncoderService
from mesh.encoding import Encoder, Usual
from mesh.engine import (
    Engine,
    EngineBuilder,
    EngineUnsuitable,
    Kind,
    builders,
    is_on_cpu,
    kinds,
    noting,
    prepare,
)
from mesh.fusion_service import FusionService
from mesh.golden import (
    GoldenMismatch,
    check_batches,
    check_classifier,
    check_encoder,
    golden_raws,
)
from mesh.mapped import unload_files
from mesh.settings import InputLimits, NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.warming import warm_up, warm_up_head

log = structlog.stdlib.get_logger(__name__)

# The settings that are measured where they are not set.
_COSTS: Final = ("max_batch_cost", "micro_batch_cost")

LoadEncoder = Callable[[Artifact, EngineBuilder, InputLimits], Encoder[Any]]
LoadClassifier = Callable[[Artifact, EngineBuilder], Classifier]
Encoders = Sequence[Encoder[Any]]
M = TypeVar("M")
Choice = Mapping[str, Any]


def load_encoder(
    settings: NodeSettings,
    metrics: NodeMetrics,
    folder: str,
    load: LoadEncoder,
    measure: Callable[[], None] | None = None,
) -> EncoderService:
    """An encoder on each of MESH_DEVICES, from `folder` of MESH_MODEL, warm and checked.

    `measure` does elsewhere what `measure_encoder` does, where that was not done before. Raises
    ArtifactError whatever is wrong in an artifact, and DeviceMissing.
    """
    prepare(settings)
    artifact = Artifact.open(Path(settings.model) / folder)
    if measure and known_choice(settings, artifact, load.__module__) is None:
        measure()
    choice, encoders = _chosen(settings, artifact, load)
    settings = _settled(settings, choice)
    raw = usual(golden_raws(encoders[0], artifact), encoders[0])
    for encoder in encoders:
        warm_up(encoder, encoder.preprocess(raw), settings)
    unload_files()
    item = Usual(
        encoders[0].preprocess(raw).size,
        core_seconds(raw, encoders[0]) if is_on_cpu(settings) else None,
    )
    log.info("usual_item", size=item.size, core_seconds=item.core_seconds)
    return EncoderService(encoders, settings, metrics, item)


def measure_encoder(settings: NodeSettings, folder: str, load: LoadEncoder) -> None:
    """Leave in the engine cache all that a start looks for there. Raises as `load_encoder`."""
    prepare(settings)
    _chosen(settings, Artifact.open(Path(settings.model) / folder), load)


def _chosen(
    settings: NodeSettings, artifact: Artifact, load: LoadEncoder
) -> tuple[Choice, Encoders]:
    """The best engine and batch, from the engine cache or else measured, and left there."""

    def encoders_of(kind: Kind) -> Encoders:
        return _load_encoders(kind, settings, artifact, load)

    known = known_choice(settings, artifact, load.__module__)
    choice, encoders = _as_before(known, encoders_of) or _anew(settings, encoders_of)
    if _wants_costs(settings) and not choice.keys() >= set(_COSTS):
        raw = usual(golden_raws(encoders[0], artifact), encoders[0])
        # An encoder's own limit is for CPUs.
        most = None if is_on_cpu(settings) else settings.max_batch
        costs = best_costs(raw, encoders[0], clock_of(settings), most)
        choice = {**choice, "max_batch_cost": costs.batch, "micro_batch_cost": costs.micro_batch}
    if choice != known:
        keep_choice(settings, artifact, load.__module__, choice)
    log.info("engine_chosen", **choice, why="kept" if choice == known else "measured")
    return choice, encoders


def _as_before(known: Choice | None, load: Callable[[Kind], M]) -> tuple[Choice, M] | None:
    """What an earlier start chose, if that still holds."""
    if known is None:
        return None
    try:
        return known, load(Kind(known["engine"], known["dtype"]))
    except (EngineUnsuitable, GoldenMismatch) as error:
        log.warning("engine_no_longer_holds", reason=str(error))
        return None


def _anew(settings: NodeSettings, load: Callable[[Kind], Encoders]) -> tuple[Choice, Encoders]:
    """What measuring says."""
    clock = clock_of(settings)
    kind, encoders = choose(kinds(settings), load, lambda made: seconds_per_item(made[0], clock))
    return kind._asdict(), encoders


def _settled(settings: NodeSettings, choice: Choice) -> NodeSettings:
    """The settings with what was chosen in the place of "auto", and of costs that nobody set.

    Where one cost is set, the other gives way: a part is no larger than a batch. On a device of its
    own a batch is one part unless somebody wants it otherwise.
    """
    asked = {name: cost for name in _COSTS if (cost := getattr(settings, name))}
    found = {**choice, **asked}
    if "max_batch_cost" not in asked and "micro_batch_cost" in asked:
        found["max_batch_cost"] = max(found["max_batch_cost"], found["micro_batch_cost"])
    if "micro_batch_cost" not in asked and not is_on_cpu(settings):
        found["micro_batch_cost"] = found["max_batch_cost"]
    return settings.model_copy(update=found)


def _wants_costs(settings: NodeSettings) -> bool:
    """Whether one is not set; on a device of its own a batch's is enough."""
    if is_on_cpu(settings):
        return not all(getattr(settings, name) for name in _COSTS)
    return not settings.max_batch_cost


def _load_encoders(
    kind: Kind, settings: NodeSettings, artifact: Artifact, load: LoadEncoder
) -> Encoders:
    with artifact.blamed():
        engines: list[Engine] = []
        made = builders(kind, settings, artifact)
        encoders = [load(artifact, noting(build, engines), settings) for build in made]
        for encoder in encoders:  # The golden examples also warm it up.
            least = check_encoder(encoder, artifact, kind.tolerance)
            check_batches(encoder, artifact, kind.tolerance)
            _log_holding(least, kind, artifact)
        for engine in engines:  # Golden examples, in pairs, may be larger than what comes.
            engine.release()
        give_back_free()
    return encoders


def load_fusion(
    settings: NodeSettings,
    metrics: NodeMetrics,
    load: LoadClassifier,
    measure: Callable[[], None] | None = None,
) -> FusionService:
    """A head for each of MESH_MODEL's folders, preferred first, warm and checked.

    `measure` and errors as for `load_encoder`.
    """
    settings = _for_heads(settings)
    prepare(settings)
    artifacts = [Artifact.open(folder) for folder in _heads(settings)]
    known = [known_choice(settings, artifact, load.__module__) for artifact in artifacts]
    if measure and None in known:
        measure()
    loaded = [_load_head(artifact, settings, load) for artifact in artifacts]
    engines = ", ".join(sorted({kind.engine for kind, _ in loaded}))
    dtypes = ", ".join(sorted({kind.dtype for kind, _ in loaded}))
    chosen = settings.model_copy(update={"engine": engines, "dtype": dtypes})
    return FusionService([replicas for _, replicas in loaded], chosen, metrics)


def measure_fusion(settings: NodeSettings, load: LoadClassifier) -> None:
    """Leave in the engine cache all that a start looks for there. Raises as `load_fusion`."""
    settings = _for_heads(settings)
    prepare(settings)
    for folder in _heads(settings):
        _load_head(Artifact.open(folder), settings, load)


def _for_heads(settings: NodeSettings) -> NodeSettings:
    """One worker, since others would find nothing to do; and float32 unless another was asked for.

    A head is too small for its speed to matter.
    """
    dtype = "float32" if settings.dtype in ("auto", "int8", "int8_dynamic") else settings.dtype
    return settings.model_copy(update={"workers": 1, "dtype": dtype})


def _heads(settings: NodeSettings) -> list[Path]:
    return [Path(model.strip()) / "fusion" for model in settings.model.split(",")]


def _load_head(
    artifact: Artifact, settings: NodeSettings, load: LoadClassifier
) -> tuple[Kind, list[Classifier]]:
    """By the engine of an earlier start, or else by the first that holds."""

    def replicas_of(kind: Kind) -> list[Classifier]:
        return _load_replicas(kind, settings, artifact, load)

    known = known_choice(settings, artifact, load.__module__)
    if before := _as_before(known, replicas_of):
        return Kind(before[0]["engine"], before[0]["dtype"]), before[1]
    kind, replicas = first(kinds(settings), replicas_of)
    keep_choice(settings, artifact, load.__module__, kind._asdict())
    return kind, replicas


def _load_replicas(
    kind: Kind, settings: NodeSettings, artifact: Artifact, load: LoadClassifier
) -> list[Classifier]:
    with artifact.blamed():
        replicas = [load(artifact, build) for build in builders(kind, settings, artifact)]
        for replica in replicas:
            _log_holding(check_classifier(replica, artifact, kind.tolerance), kind, artifact)
            warm_up_head(replica, settings)
    return replicas


def _log_holding(least: float, kind: Kind, artifact: Artifact) -> None:
    cosine = round(least, 6)
    log.info(
        "golden_examples_hold", least_cosine=cosine, version=artifact.version, **kind._asdict()
    )
