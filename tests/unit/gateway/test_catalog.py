"""The catalog: what the mesh can do, as last seen."""

import asyncio

import pytest

from gateway.catalog import best_head
from mesh.errors import Unavailable
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT, FakeMesh, head


async def test_nothing_is_known_before_fusion_answered() -> None:
    """Without heads there is neither readiness nor an answer."""
    mesh = FakeMesh()
    assert not mesh.catalog.ready()
    with pytest.raises(Unavailable):
        mesh.catalog.require_heads()


async def test_the_last_word_of_fusion_stays_valid() -> None:
    """Fusion that went away leaves its heads, but the mesh is not ready."""
    mesh = FakeMesh()
    await mesh.catalog.refresh()
    assert mesh.catalog.ready()
    mesh.fusion.error = Unavailable("gone")
    await mesh.catalog.refresh()
    assert mesh.catalog.require_heads()
    assert not mesh.catalog.ready()


async def test_one_encoder_that_fits_is_enough_to_be_ready() -> None:
    """Two encoders away and one of another version: each has its state, and none is ready."""
    mesh = FakeMesh()
    mesh.encoders[TEXT].error = Unavailable("gone")
    mesh.encoders[IMAGE].error = Unavailable("gone")
    await mesh.catalog.refresh()
    assert mesh.catalog.ready()
    mesh.encoders[AUDIO].version = "v9"
    await mesh.catalog.refresh()
    assert not mesh.catalog.ready()
    assert mesh.catalog.state(TEXT) == "unreachable"
    assert mesh.catalog.state(AUDIO) == "wrong_version"


async def test_it_describes_models_and_encoders() -> None:
    """As `GET /v1/model` shows it."""
    mesh = FakeMesh(head("f2", text="v2"), head("f1"))
    await mesh.catalog.refresh()
    shown = mesh.catalog.describe()
    assert [model["version"] for model in shown["models"]] == ["f2", "f1"]
    assert shown["models"][0]["encoders"]["text"] == "v2"
    assert shown["encoders"]["text"] == {"state": "ready", "version": "v1"}


async def test_refreshes_at_one_time_share_one_question() -> None:
    """A burst of requests that find the heads out of date asks fusion once."""
    mesh = FakeMesh()
    asked = 0
    describe = mesh.fusion.describe

    async def counting(deadline: float):
        nonlocal asked
        asked += 1
        return await describe(deadline)

    mesh.fusion.describe = counting
    await asyncio.gather(*(mesh.catalog.refresh_heads() for _ in range(10)))
    assert asked == 1


def test_the_best_head_understands_the_most() -> None:
    """Of equals the preferred one."""
    new, old = head("f2", text="v2"), head("f1")
    assert best_head([new, old], {TEXT: "v2", IMAGE: "v1"})[0] is new
    assert best_head([new, old], {TEXT: "v1", IMAGE: "v1"})[0] is old
    assert best_head([new, old], {IMAGE: "v1"}) == (new, {IMAGE})
    assert best_head([new, old], {TEXT: "v7", IMAGE: "v1"}) == (new, {IMAGE})
