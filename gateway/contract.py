"""What the gateway is asked and what it answers, free of HTTP.

schema.py makes requests from bodies, and bodies from predictions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.digests import Digests
from mesh.embedding import Modality

Status = Literal["absent", "cached", "computed", "failed"]

# What a request goes through, each timed by itself.
STAGES: Final = ("cache", "encode", "fuse")


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """One request: only the modalities that were sent, text as str and media as whole files.

    `digests` has that of each input; `deadline` is on the clock of `time.monotonic()`.
    """

    inputs: Mapping[Modality, str | bytes]
    digests: Digests
    deadline: float
    request_id: str
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a modality that was sent is not in the answer; `code` as in mesh.errors."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModalityReport:
    """What became of one modality. `contribution` is None unless it was asked for and exists."""

    status: Status
    truncated: bool = False
    error: Failure | None = None
    contribution: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class, what it rests on, and how long each stage took (milliseconds)."""

    model_name: str
    model_version: str
    # In the order of the model's labels.
    probabilities: Mapping[str, float]
    # Every modality, in the order of Modality.
    modalities: Mapping[Modality, ModalityReport]
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def degraded(self) -> bool:
        """Whether a modality that was sent is missing from the answer by our fault."""
        return any(report.status == "failed" for report in self.modalities.values())


@dataclass(slots=True)
class Known:
    """A prediction that is recalled, without times. `written` is how it looks once it was told."""

    prediction: Prediction
    written: bytes | None = None
