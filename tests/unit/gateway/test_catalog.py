"""The catalog: what the mesh can do, as last seen."""

import asyncio

import pytest

from gateway.catalog import best_head
from mesh.errors import MalformedInput, Unavailable
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT, FakeMesh, head, head_for


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
    await asyncio.gather(*(mesh.catalog.refresh_heads() for _ in range(10)))
    assert mesh.fusion.described == 1


async def test_an_encoder_that_no_head_takes_is_unused() -> None:
    """It is not asked either, and what it gave while it was used is forgotten."""
    mesh = FakeMesh()
    await mesh.catalog.refresh()
    assert mesh.catalog.describe()["encoders"]["audio"] == {"state": "ready", "version": "v1"}
    mesh.fusion.heads = (head_for(TEXT, IMAGE),)
    await mesh.catalog.refresh()
    assert mesh.catalog.describe()["encoders"]["audio"] == {"state": "unused", "version": None}
    assert [mesh.encoders[m].described for m in (TEXT, AUDIO)] == [2, 1]


async def test_an_unused_encoder_does_not_make_it_ready() -> None:
    """Only those count that some head was trained on."""
    mesh = FakeMesh(head_for(TEXT))
    mesh.encoders[TEXT].error = Unavailable("gone")
    await mesh.catalog.refresh()
    assert not mesh.catalog.ready()
    mesh.encoders[TEXT].error = None
    await mesh.catalog.refresh()
    assert mesh.catalog.ready()


async def test_before_fusion_answered_no_encoder_is_asked() -> None:
    """Which of them are used is not known yet, so none is called unused."""
    mesh = FakeMesh()
    mesh.fusion.error = Unavailable("gone")
    await mesh.catalog.refresh()
    assert {mesh.catalog.state(modality) for modality in mesh.encoders} == {"unreachable"}
    assert not any(encoder.described for encoder in mesh.encoders.values())


async def test_a_modality_that_no_head_takes_is_the_callers_fault() -> None:
    """During a roll-out any head counts."""
    mesh = FakeMesh(head_for(TEXT, version="f2"), head_for(TEXT, IMAGE))
    await mesh.catalog.refresh()
    assert len(await mesh.catalog.heads_for([TEXT, IMAGE])) == 2
    with pytest.raises(MalformedInput, match="no model here takes audio") as caught:
        await mesh.catalog.heads_for([TEXT, AUDIO])
    assert caught.value.field == AUDIO


async def test_fusion_is_asked_before_a_modality_is_refused() -> None:
    """What has just become possible is not refused."""
    mesh = FakeMesh(head_for(TEXT))
    await mesh.catalog.refresh()
    mesh.fusion.heads = (head_for(TEXT, AUDIO),)
    assert await mesh.catalog.heads_for([AUDIO]) == mesh.fusion.heads


async def test_refusals_do_not_make_fusion_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once for many, at one time or one after the other, and again a while later."""

    async def refused() -> None:
        with pytest.raises(MalformedInput):
            await mesh.catalog.heads_for([AUDIO])

    monkeypatch.setattr("gateway.catalog.ASK_AGAIN", 0.1)
    mesh = FakeMesh(head_for(TEXT))
    await mesh.catalog.refresh_heads()
    await asyncio.gather(*(refused() for _ in range(10)))
    assert mesh.fusion.described == 2
    monkeypatch.setattr("gateway.catalog.ASK_AGAIN", 60)
    await asyncio.sleep(0.15)
    for _ in range(10):
        await refused()
    assert mesh.fusion.described == 3


async def test_fusions_last_word_counts_for_refusals_too() -> None:
    """While it is away, what no head took is still the caller's fault."""
    mesh = FakeMesh(head_for(TEXT))
    await mesh.catalog.refresh()
    mesh.fusion.error = Unavailable("gone")
    with pytest.raises(MalformedInput):
        await mesh.catalog.heads_for([AUDIO])
    assert await mesh.catalog.heads_for([TEXT])


async def test_nothing_is_refused_before_fusion_answered() -> None:
    """It is our fault as long as nobody knows what is taken."""
    with pytest.raises(Unavailable):
        await FakeMesh().catalog.heads_for([TEXT])


def test_the_best_head_understands_the_most() -> None:
    """Of equals the preferred one."""
    new, old = head("f2", text="v2"), head("f1")
    assert best_head([new, old], {TEXT: "v2", IMAGE: "v1"})[0] is new
    assert best_head([new, old], {TEXT: "v1", IMAGE: "v1"})[0] is old
    assert best_head([new, old], {IMAGE: "v1"}) == (new, {IMAGE})
    assert best_head([new, old], {TEXT: "v7", IMAGE: "v1"}) == (new, {IMAGE})
