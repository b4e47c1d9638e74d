"""Encoders that die, or don't answer: the answer rests on the others, and says so."""

import time
from collections.abc import Iterator

import pytest

from cli.topology import ENCODERS
from tests.e2e.asking import answered, everything, predict, refused, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.mesh import Mesh
from tests.waiting import within

MODALITIES = {"text-encoder": "text", "vision-encoder": "image", "audio-encoder": "audio"}
# Seconds from the moment that encoders are started or go on.
RECOVERY = 10.0


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process; half a second is kept for fusion, as for a machine that is busy."""
    return make_mesh(MESH_FUSION_RESERVE="0.5")


@pytest.fixture(autouse=True)
def whole(mesh: Mesh) -> Iterator[None]:
    """Let each test begin and end with a whole mesh."""
    yield
    for name in ENCODERS:
        if mesh[name].alive:
            mesh[name].resume()
        mesh[name].start()
    for name in ENCODERS:
        mesh[name].wait_ready()
    mesh.wait_whole()


def is_whole(mesh: Mesh) -> bool:
    """Whether a new request is answered with all of its modalities."""
    response = predict(mesh.url, everything())
    return response.status_code == 200 and not response.json()["degraded"]


def is_degraded(mesh: Mesh, failed: list[str]) -> None:
    """Check that a new request is answered without exactly these modalities."""
    answer = answered(predict(mesh.url, everything()))
    assert answer["degraded"] is True
    assert statuses(answer) == {
        modality: "failed" if modality in failed else "computed" for modality in MODALITIES.values()
    }
    for modality in failed:
        error = answer["modalities"][modality]["error"]
        assert error["code"] == "UNAVAILABLE"
        assert error["message"]


def test_killed_encoders_degrade_the_answer_until_none_is_left(mesh: Mesh) -> None:
    """One or two dead: 200, degraded, theirs failed. Three: 503. Started again: whole answers."""
    failed: list[str] = []
    for name in ("text-encoder", "vision-encoder"):
        mesh[name].kill()
        failed.append(MODALITIES[name])
        for _ in range(5):
            is_degraded(mesh, failed)
    sent = everything()
    assert answered(predict(mesh.url, sent))["degraded"]
    mesh["audio-encoder"].kill()
    refused(predict(mesh.url, everything()), 503)
    within(RECOVERY, lambda: not mesh["gateway"].is_ready(), lambda: "it says that it is ready")

    for name in ENCODERS:
        mesh[name].start()
    within(RECOVERY, lambda: is_whole(mesh), lambda: f"still not whole: {mesh.states()}")
    within(RECOVERY, mesh["gateway"].is_ready, lambda: "it does not say that it is ready")

    # The degraded answer was not kept, but what was encoded for it was.
    again = statuses(answered(predict(mesh.url, sent)))
    assert again == {"text": "computed", "image": "computed", "audio": "cached"}
    degraded = mesh["gateway"].metrics()
    assert degraded.value("mesh_degraded_total", modality="text", reason="UNAVAILABLE") >= 11
    assert degraded.value("mesh_degraded_total", modality="image", reason="UNAVAILABLE") >= 6


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_that_hangs_is_cut_off_before_the_deadline(mesh: Mesh, name: str) -> None:
    """The answer leaves in time, without its modality; as soon as it goes on, answers are whole."""
    timeout, sent = 2.0, everything()
    mesh[name].pause()
    started = time.monotonic()
    answer = answered(predict(mesh.url, sent, timeout=timeout))
    assert time.monotonic() - started < timeout
    assert answer["degraded"] is True
    report = answer["modalities"][MODALITIES[name]]
    assert report["status"] == "failed"
    assert report["error"]["code"] == "EXPIRED"
    others = set(MODALITIES.values()) - {MODALITIES[name]}
    assert {statuses(answer)[modality] for modality in others} == {"computed"}
    mesh[name].resume()
    within(RECOVERY, lambda: is_whole(mesh), lambda: f"still not whole: {mesh.states()}")
