"""A classifier without a mesh, for tests of the gateway's HTTP side."""

import asyncio
import io
import threading
from collections import deque
from collections.abc import Mapping

from gateway.contract import Known, ModalityReport, Prediction, PredictRequest
from gateway.metrics import GatewayMetrics
from mesh.embedding import Modality
from mesh.settings import GatewaySettings

LABELS = ("anger", "fear", "joy")


class FakeClassifier:
    """Says joy of everything and keeps what it was asked lately.

    A text of "wait 1.5" takes so many seconds. `known` is recalled. `error` is raised where it is
    set, and `reports` replaces what is said of some modalities.
    """

    def __init__(self, keep: int = 10) -> None:
        self.requests: deque[PredictRequest] = deque(maxlen=keep)
        self.reports: dict[Modality, ModalityReport] = {}
        self.error: Exception | None = None
        self.known: Mapping[Modality, str | bytes] = {}
        self.is_ready = True
        self.closed = False

    def recall(self, request: PredictRequest) -> Known | None:
        return Known(self.prediction(request)) if request.inputs == self.known else None

    async def classify(self, request: PredictRequest) -> Prediction:
        self.requests.append(request)
        if self.error:
            raise self.error
        word, _, seconds = str(request.inputs.get(Modality.TEXT, "")).partition(" ")
        if word == "wait":
            await asyncio.sleep(float(seconds))
        return self.prediction(request)

    def prediction(self, request: PredictRequest) -> Prediction:
        """Joy, whatever was sent."""
        sent = {m: ModalityReport("computed") for m in request.inputs} | self.reports
        return Prediction(
            model_name="fake",
            model_version="sha256:" + 64 * "0",
            probabilities=dict(zip(LABELS, (0.125, 0.25, 0.625), strict=True)),
            modalities={m: sent.get(m, ModalityReport("absent")) for m in Modality},
            timing_ms={"cache": 0.5, "encode": 1.5, "fuse": 1.0},
        )

    def ready(self) -> bool:
        return self.is_ready

    def describe(self) -> dict[str, object]:
        version = "sha256:" + 64 * "1"
        return {
            "models": [
                {
                    "name": "fake",
                    "version": "sha256:" + 64 * "0",
                    "labels": list(LABELS),
                    "encoders": dict.fromkeys(("text", "image"), version),
                }
            ],
            "encoders": {
                "text": {"state": "ready", "version": version},
                "image": {"state": "unreachable", "version": None},
                "audio": {"state": "unused", "version": None},
            },
        }

    async def close(self) -> None:
        self.closed = True


async def open_fake(settings: GatewaySettings, metrics: GatewayMetrics) -> FakeClassifier:
    """As gateway.wiring.open_mesh, with nothing behind it."""
    del settings, metrics
    return FakeClassifier(keep=0)


class Stalled(io.RawIOBase):
    """A client's stream: gives `start`, then nothing until `ended` is set."""

    def __init__(self, start: bytes = b"") -> None:
        self.left = start
        self.ended = threading.Event()

    def read(self, size: int = -1) -> bytes:
        if self.left:
            chunk, self.left = self.left[:size], self.left[size:]
            return chunk
        self.ended.wait(20)
        return b""
