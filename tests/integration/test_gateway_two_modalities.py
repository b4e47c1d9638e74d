"""The whole gateway but for its server, over fakes, where the one head takes text and image."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from gateway.contract import Known, Prediction, PredictRequest
from gateway.loop import BackgroundLoop
from gateway.readers import Readers
from mesh.errors import Unavailable
from tests.unit.gateway.conftest import Web
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT, FakeMesh, head_for

TEXT_AND_IMAGE = {"text": "hi", "image": "cGl4ZWxz"}
SOUND = {"audio": "c291bmQ="}
ENCODERS, TWO, THREE = ("sha256:" + 64 * digit for digit in "123")


class TwoModalities:
    """Routes over a pipeline over fakes; every answer is held against the OpenAPI."""

    def __init__(self, loop: BackgroundLoop, readers: Readers) -> None:
        self.mesh = FakeMesh(head_for(TEXT, IMAGE, version=TWO, trained_on=ENCODERS))
        for encoder in self.mesh.encoders.values():
            encoder.version = ENCODERS
        self._run = partial(loop.run, timeout=5)
        self.refresh()
        web = Web(loop, readers, classifier=self)
        self.predict, self.get = web.predict, web.get

    def recall(self, request: PredictRequest) -> Known | None:
        return self.mesh.pipeline.recall(request)

    async def classify(self, request: PredictRequest) -> Prediction:
        return await self.mesh.pipeline.classify(request)

    def ready(self) -> bool:
        return self.mesh.catalog.ready()

    def describe(self) -> dict[str, object]:
        return self.mesh.catalog.describe()

    def refresh(self) -> None:
        """As the gateway does every few seconds."""
        self._run(self.mesh.catalog.refresh())

    def encoded(self) -> int:
        """How many inputs any encoder got."""
        return sum(len(encoder.encoded) for encoder in self.mesh.encoders.values())


@pytest.fixture
def gateway() -> Iterator[TwoModalities]:
    with BackgroundLoop() as loop, Readers() as readers:
        yield TwoModalities(loop, readers)


def test_what_the_head_takes_is_answered_and_known_again(gateway: TwoModalities) -> None:
    """A model of two modalities gives whole answers, which are cached."""
    for status in ("computed", "cached"):
        answer = gateway.predict(json=TEXT_AND_IMAGE).get_json()
        assert not answer["degraded"]
        reports = {name: report["status"] for name, report in answer["modalities"].items()}
        assert reports == {"text": status, "image": status, "audio": "absent"}


@pytest.mark.parametrize("inputs", [SOUND, TEXT_AND_IMAGE | SOUND], ids=["alone", "with others"])
def test_what_no_head_takes_is_refused(gateway: TwoModalities, inputs: dict[str, Any]) -> None:
    """As the caller's fault, named by its field, at once and at no encoder's cost."""
    started = time.monotonic()
    response = gateway.predict(json=inputs)
    problem = response.get_json()
    assert (response.status_code, problem["field"]) == (400, "audio")
    assert problem["detail"] == "no model here takes audio"
    assert gateway.encoded() == 0
    assert time.monotonic() - started < 2


def test_it_shows_what_it_does_not_use(gateway: TwoModalities) -> None:
    """`/v1/model` calls the encoder unused, and it is never asked what it is."""
    encoders = gateway.get("/v1/model").get_json()["encoders"]
    assert encoders["audio"] == {"state": "unused", "version": None}
    assert {encoders[name]["state"] for name in ("text", "image")} == {"ready"}
    assert gateway.mesh.encoders[AUDIO].described == 0


def test_it_is_ready_by_the_encoders_that_it_uses(gateway: TwoModalities) -> None:
    """One of them is enough; the unused one is not, though it answers."""
    gateway.mesh.encoders[TEXT].error = Unavailable("gone")
    gateway.refresh()
    assert gateway.get("/readyz").status_code == 200
    gateway.mesh.encoders[IMAGE].error = Unavailable("gone")
    gateway.refresh()
    assert gateway.get("/readyz").status_code == 503


def test_a_head_that_takes_more_is_found_by_the_first_request(gateway: TwoModalities) -> None:
    """A roll-out to a model of three modalities refuses nothing that is possible already."""
    three = head_for(TEXT, IMAGE, AUDIO, version=THREE, trained_on=ENCODERS)
    gateway.mesh.fusion.heads = (three, *gateway.mesh.fusion.heads)
    answer = gateway.predict(json=TEXT_AND_IMAGE | SOUND).get_json()
    assert (answer["model"]["version"], answer["degraded"]) == (THREE, False)
