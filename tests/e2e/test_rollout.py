"""Encoders and heads of several versions: what fits is used, what doesn't is left out and named."""

import pytest

from tests.e2e.artifacts import write_turned_model
from tests.e2e.asking import answered, ask_all, everything, load, predict, refused, statuses
from tests.e2e.conftest import MakeMesh
from tests.e2e.inputs import AUDIO, IMAGE, ROOT, TEXT, new_text
from tests.e2e.member import http
from tests.e2e.mesh import MODEL, Mesh
from tests.waiting import within

SAMPLES = {"text": TEXT, "image": IMAGE, "audio": AUDIO}


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """Two of each node, and a gateway."""
    return make_mesh(replicas=2)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model with another text encoder and a head for it."""
    folder = tmp_path_factory.mktemp("models") / "emotion6"
    write_turned_model(ROOT / MODEL, folder)
    return str(folder)


def serve(mesh: Mesh, name: str, *models: str) -> None:
    """Let a node serve these models, by a restart where it served others."""
    member, wanted = mesh[name], ",".join(models)
    if member.alive and member.process.env["MESH_MODEL"] != wanted:
        assert member.stop() == 0
    member.configure(MESH_MODEL=wanted)
    member.start()
    member.wait_ready()


def held(mesh: Mesh) -> list[str]:
    """The versions of the heads that the gateway knows of, preferred first."""
    models = http.get(f"{mesh.url}/v1/model").json()["models"]
    return [model["version"] for model in models]


def test_a_rolling_change_of_encoder_and_head_loses_nothing(mesh: Mesh, new: str) -> None:
    """Both heads, then encoder after encoder, then the new head: no request fails or degrades."""
    before = answered(predict(mesh.url, SAMPLES))
    [old_version] = held(mesh)
    with load(ask_all(mesh.url), clients=2, pause=0.1) as result:
        result.wait_for(5)
        for name in ("fusion", "fusion-2"):
            serve(mesh, name, new, MODEL)
        for name in ("text-encoder", "text-encoder-2"):
            serve(mesh, name, new)
            result.wait_for(5)
        for name in ("fusion", "fusion-2"):
            serve(mesh, name, new)
        result.wait_for(5)
        within(10, lambda: len(held(mesh)) == 1, lambda: f"fusion holds {held(mesh)}")
        result.wait_for(5)
    result.require_whole()
    [new_version] = held(mesh)
    versions = [body["model"]["version"] for _, body in result.answers]
    assert set(versions) == {old_version, new_version}
    assert (versions[0], versions[-1]) == (old_version, new_version)

    # The old encoder's embedding is still cached, and of no use to the new head.
    after = answered(predict(mesh.url, SAMPLES))
    assert statuses(after) == {"text": "computed", "image": "cached", "audio": "cached"}
    assert after["model"]["version"] == new_version
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-4)


def test_an_encoder_that_no_head_was_trained_on_is_left_out(mesh: Mesh, new: str) -> None:
    """Its modality is failed with that reason, the answer rests on the others; alone it is 503."""
    serve(mesh, "text-encoder-2", new)
    serve(mesh, "fusion-2", MODEL)
    only = {name: mesh.target(f"{name}-2") for name in ("text-encoder", "fusion")}
    gateway = mesh.add_gateway("gateway-alone", targets=only)
    gateway.start()
    gateway.wait_ready()
    within(
        10,
        lambda: set(mesh.states("gateway-alone").values()) == {"ready", "wrong_version"},
        lambda: f"it says {mesh.states('gateway-alone')}",
    )
    assert mesh.states("gateway-alone")["text"] == "wrong_version"
    for _ in range(3):
        answer = answered(predict(gateway.url, everything()))
        assert answer["degraded"] is True
        assert statuses(answer) == {"text": "failed", "image": "computed", "audio": "computed"}
        assert answer["modalities"]["text"]["error"]["code"] == "WRONG_VERSION"
        assert "version" in answer["modalities"]["text"]["error"]["message"]
    reason = {"modality": "text", "reason": "WRONG_VERSION"}
    assert gateway.metrics().value("mesh_degraded_total", **reason) == 3
    refused(predict(gateway.url, {"text": new_text()}), 503)
