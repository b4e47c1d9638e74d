"""From branches and scores to the answer: pure functions, one a step."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from gateway.cache import Result, unpack_result
from gateway.clients import Head, Scores
from gateway.contract import Failure, Known, ModalityReport, Prediction
from mesh.embedding import Embedding, Modality
from mesh.errors import DeadlineExpired, Unavailable

Embeddings = Mapping[Modality, Embedding]
# What became of each modality that was sent.
Branches = Mapping[Modality, Embedding | Failure]
Reports = Mapping[Modality, ModalityReport]
TimingMs = Mapping[str, float]

# Recalled answers that need not be made again, and the labels up to which they are kept: with six
# an answer takes 1.6 kB, with so many 7.
MOST_KNOWN: Final = 1024
FEW_LABELS: Final = 64

# Made once: a cached answer has little else to do, and an enumeration is gone round by a generator.
_MODALITIES: Final = tuple(Modality)
_ABSENT: Final = ModalityReport("absent")
_CACHED: Final = {cut: ModalityReport("cached", truncated=cut) for cut in (False, True)}


def only_embeddings(branches: Branches) -> dict[Modality, Embedding]:
    """The branches that did not fail, in the order of Modality."""
    return {
        modality: branch
        for modality in _MODALITIES
        if isinstance(branch := branches.get(modality), Embedding)
    }


def require_embeddings(branches: Branches) -> dict[Modality, Embedding]:
    """As `only_embeddings`; DeadlineExpired or Unavailable where there is none."""
    if embeddings := only_embeddings(branches):
        return embeddings
    failures = {m: branch for m in _MODALITIES if isinstance(branch := branches.get(m), Failure)}
    why = "; ".join(f"{modality}: {failure.message}" for modality, failure in failures.items())
    late = all(failure.code == DeadlineExpired.code for failure in failures.values())
    kind = DeadlineExpired if late else Unavailable
    raise kind(f"no modality could be encoded ({why})")


def truncated_in(embeddings: Embeddings) -> frozenset[Modality]:
    """The modalities of which the encoder had cut the input."""
    return frozenset(m for m, embedding in embeddings.items() if embedding.truncated)


def cached_prediction(
    result: Result, modalities: Collection[Modality], timing_ms: TimingMs
) -> Prediction:
    """The answer to a request of these modalities whose result was known."""
    reports = {m: _CACHED[m in result.truncated] for m in modalities}
    return prediction(result.scores, reports, timing_ms)


def known(packed: bytes, head: Head, modalities: Collection[Modality]) -> Known | None:
    """The answer that such a result is to a request of these modalities; None where it is none.

    The same one each time where there are few labels, so that it is made, and written, once.
    """
    make = _known if len(head.labels) <= FEW_LABELS else _known.__wrapped__
    return make(packed, head.name, head.version, head.labels, frozenset(modalities))


@lru_cache(MOST_KNOWN)
def _known(
    packed: bytes, name: str, version: str, labels: tuple[str, ...], modalities: frozenset[Modality]
) -> Known | None:
    result = unpack_result(packed, Head(name, version, labels, {}))
    return Known(cached_prediction(result, modalities, {})) if result else None


def reports_of(branches: Branches, cached: Embeddings) -> dict[Modality, ModalityReport]:
    """What to say of each modality that was sent."""
    return {
        modality: ModalityReport("failed", error=branch)
        if isinstance(branch, Failure)
        else ModalityReport(
            "cached" if branch is cached.get(modality) else "computed", branch.truncated
        )
        for modality, branch in branches.items()
    }


def explained(
    reports: Reports, embeddings: Embeddings, scores: Scores, without: Sequence[Scores]
) -> dict[Modality, ModalityReport]:
    """The reports with each contribution: what the class loses when that modality is left out.

    `without` holds the scores without each of `embeddings`, in their order; none for a single one.
    """
    label = top(scores.probabilities)
    contributions = {
        modality: scores.probabilities[label] - left_out.probabilities[label]
        for modality, left_out in zip(embeddings, without, strict=False)
    }
    return {
        modality: replace(report, contribution=contributions.get(modality))
        for modality, report in reports.items()
    }


def prediction(scores: Scores, reports: Reports, timing_ms: TimingMs) -> Prediction:
    """The whole answer, with a report for every modality there is."""
    return Prediction(
        model_name=scores.name,
        model_version=scores.version,
        probabilities=scores.probabilities,
        modalities={modality: reports.get(modality, _ABSENT) for modality in _MODALITIES},
        timing_ms=timing_ms,
    )


def top(probabilities: Mapping[str, float]) -> str:
    """The label of the highest probability; the first of equals."""
    return max(probabilities, key=probabilities.__getitem__)
