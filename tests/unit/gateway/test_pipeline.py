"""classify(): whole answers, degraded ones, and refusals."""

import asyncio
from functools import partial

import pytest

from gateway.contract import Failure
from mesh.embedding import Modality
from mesh.errors import (
    DeadlineExpired,
    InvalidInput,
    MalformedInput,
    MeshError,
    Overloaded,
    Unavailable,
)
from tests.unit.gateway.fakes import (
    AUDIO,
    IMAGE,
    INPUTS,
    LABELS,
    TEXT,
    FakeMesh,
    head,
    head_for,
    statuses,
)


def count(mesh: FakeMesh, name: str, **labels: str) -> float | None:
    return mesh.metrics.registry.get_sample_value(name, labels)


async def test_three_modalities_give_a_class() -> None:
    """All are computed, the labels keep their order, nothing is degraded."""
    answer = await FakeMesh().classify(**INPUTS)
    assert tuple(answer.probabilities) == LABELS
    assert answer.probabilities["joy"] == pytest.approx(0.9)
    assert statuses(answer) == ["computed"] * 3
    assert not answer.degraded
    assert set(answer.timing_ms) == {"cache", "encode", "fuse"}


@pytest.mark.parametrize("sent", [["text"], ["audio"], ["text", "image"], ["image", "audio"]])
async def test_every_subset_is_answered(sent: list[str]) -> None:
    """What was not sent is absent, and only what was sent is encoded."""
    mesh = FakeMesh()
    answer = await mesh.classify(**{name: INPUTS[name] for name in sent})
    assert {m.value for m, r in answer.modalities.items() if r.status == "computed"} == set(sent)
    assert {m.value for m, encoder in mesh.encoders.items() if encoder.encoded} == set(sent)


@pytest.mark.parametrize("longest", Modality)
async def test_the_largest_input_is_sent_first(
    longest: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longest, and the answer waits for it."""
    mesh, sent = FakeMesh(), []
    for modality, encoder in mesh.encoders.items():
        encode = partial(_noting, sent, modality, encoder.encode)
        monkeypatch.setattr(encoder, "encode", encode)
    await mesh.classify(**{**INPUTS, longest.value: 9 * INPUTS[longest.value]})
    assert (sent[0], len(sent)) == (longest, 3)


async def _noting(sent, modality, encode, *args):
    sent.append(modality)
    return await encode(*args)


async def test_the_same_request_again_asks_nobody() -> None:
    """A known result needs neither encoders nor fusion, and says that all was cached."""
    mesh = FakeMesh()
    first = await mesh.classify(**INPUTS)
    again = await mesh.classify(**INPUTS)
    assert statuses(again) == ["cached"] * 3
    assert again.probabilities == first.probabilities
    assert len(mesh.fusion.versions) == 1
    assert all(len(encoder.encoded) == 1 for encoder in mesh.encoders.values())


async def test_a_known_embedding_is_used_in_another_request() -> None:
    """The same picture with another text: only the text is encoded."""
    mesh = FakeMesh()
    await mesh.classify(text="one", image=b"png")
    answer = await mesh.classify(text="two", image=b"png")
    assert statuses(answer) == ["computed", "cached", "absent"]
    assert mesh.encoders[IMAGE].encoded == [b"png"]


async def test_truncation_is_remembered() -> None:
    """Also where the whole result comes from the cache."""
    mesh = FakeMesh()
    for _ in range(2):
        answer = await mesh.classify(text="long", image=b"png")
        assert answer.modalities[TEXT].truncated
        assert not answer.modalities[IMAGE].truncated


async def test_equal_requests_at_once_encode_once() -> None:
    """Fifty of one kind in flight are one encoding."""
    mesh = FakeMesh()
    await asyncio.gather(*(mesh.classify(text="same") for _ in range(50)))
    assert mesh.encoders[TEXT].encoded == ["same"]


async def test_what_is_encoded_is_shared_while_the_rest_is_not() -> None:
    """A request that comes between the text's embedding and the picture's joins both."""
    mesh = FakeMesh()
    mesh.encoders[IMAGE].gate.clear()
    first = asyncio.ensure_future(mesh.classify(text="same", image=b"png"))
    await asyncio.sleep(0.01)
    assert mesh.encoders[TEXT].encoded == ["same"]
    second = asyncio.ensure_future(mesh.classify(text="same", image=b"png"))
    await asyncio.sleep(0.01)
    mesh.encoders[IMAGE].gate.set()
    assert statuses(await first) == ["computed", "computed", "absent"]
    assert statuses(await second) == ["cached", "computed", "absent"]
    assert mesh.encoders[TEXT].encoded == ["same"]
    assert mesh.encoders[IMAGE].encoded == [b"png"]


async def test_explain_gives_each_modalitys_part() -> None:
    """What the class loses without that modality; also from cached embeddings."""
    mesh = FakeMesh()
    for status in ("computed", "cached"):
        answer = await mesh.classify(explain=True, **INPUTS)
        assert statuses(answer) == [status] * 3
        for report in answer.modalities.values():
            assert report.contribution == pytest.approx(0.3)


async def test_explain_of_a_single_modality_has_nothing_to_leave_out() -> None:
    """Its contribution is None."""
    answer = await FakeMesh().classify(explain=True, text="alone")
    assert answer.modalities[TEXT].contribution is None


@pytest.mark.parametrize("error", [Unavailable("gone"), MeshError("broken")])
async def test_a_failing_encoder_degrades_the_answer(error: MeshError) -> None:
    """The class rests on the others and says so, and is not kept as the whole answer."""
    mesh = FakeMesh()
    mesh.encoders[IMAGE].error = error
    answer = await mesh.classify(**INPUTS)
    assert answer.degraded
    assert answer.modalities[IMAGE].error == Failure(error.code, error.message)
    assert statuses(answer) == ["computed", "failed", "computed"]
    assert count(mesh, "mesh_degraded_total", modality="image", reason=error.code) == 1
    mesh.encoders[IMAGE].error = None
    whole = await mesh.classify(**INPUTS)
    assert statuses(whole) == ["cached", "computed", "cached"]
    assert not whole.degraded


async def test_no_encoder_at_all_is_unavailable() -> None:
    """With nothing left to rest on there is no answer."""
    mesh = FakeMesh()
    for encoder in mesh.encoders.values():
        encoder.error = Unavailable("gone")
    with pytest.raises(Unavailable, match=r"text: gone; image: gone; audio: gone"):
        await mesh.classify(**INPUTS)


async def test_a_late_encoder_is_cut_in_time_for_fusion() -> None:
    """The others' answer leaves before the deadline."""
    mesh = FakeMesh()
    mesh.encoders[AUDIO].gate.clear()
    answer = await mesh.classify(seconds=0.2, **INPUTS)
    assert answer.modalities[AUDIO].error.code == "EXPIRED"
    assert statuses(answer) == ["computed", "computed", "failed"]


async def test_nothing_but_late_encoders_is_past_the_deadline() -> None:
    """Then it is time that ran out, not a service that was away."""
    mesh = FakeMesh()
    mesh.encoders[TEXT].gate.clear()
    with pytest.raises(DeadlineExpired):
        await mesh.classify(seconds=0.1, text="slow")


async def test_a_callers_fault_refuses_the_whole_request() -> None:
    """It names the field, whatever the other modalities had to say."""
    mesh = FakeMesh()
    mesh.encoders[IMAGE].error = InvalidInput("truncated file")
    with pytest.raises(InvalidInput) as caught:
        await mesh.classify(**INPUTS)
    assert caught.value.field == "image"


async def test_a_modality_that_no_head_takes_refuses_the_whole_request() -> None:
    """Beside others or alone, and before any encoder is asked."""
    mesh = FakeMesh(head_for(TEXT, IMAGE))
    for inputs in (INPUTS, {"audio": b"wav"}):
        with pytest.raises(MalformedInput, match="no model here takes audio") as caught:
            await mesh.classify(**inputs)
        assert caught.value.field == "audio"
    assert not any(encoder.encoded for encoder in mesh.encoders.values())
    assert count(mesh, "mesh_degraded_total", modality="audio", reason="UNAVAILABLE") is None


async def test_a_modality_that_the_last_head_to_take_it_left_is_refused() -> None:
    """Also where the gateway learns so only when fusion refuses that head."""
    mesh = FakeMesh(head("f1"))
    await mesh.classify(text="before")
    mesh.fusion.heads = (head_for(TEXT, IMAGE, version="f2"),)
    with pytest.raises(MalformedInput):
        await mesh.classify(text="after", audio=b"wav")


async def test_an_encoders_refusal_for_load_refuses_the_request() -> None:
    """Load never degrades an answer."""
    mesh = FakeMesh()
    mesh.encoders[IMAGE].error = Overloaded("queue full")
    with pytest.raises(Overloaded):
        await mesh.classify(**INPUTS)


async def test_fusion_that_is_down_leaves_cached_results_to_answer() -> None:
    """A known result still goes out; a new request is unavailable."""
    mesh = FakeMesh()
    await mesh.classify(**INPUTS)
    mesh.fusion.error = Unavailable("gone")
    assert statuses(await mesh.classify(**INPUTS)) == ["cached"] * 3
    with pytest.raises(Unavailable):
        await mesh.classify(text="new")
