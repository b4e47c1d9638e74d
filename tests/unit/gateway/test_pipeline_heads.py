"""classify() while heads and encoders change: versions that fit, and are never mixed."""

import pytest

from mesh.errors import Unavailable, VersionMismatch
from tests.unit.gateway.fakes import IMAGE, INPUTS, TEXT, FakeMesh, head, statuses


async def test_an_encoder_of_an_unknown_version_is_left_out() -> None:
    """Its modality is failed with that reason, after fusion was asked whether it knows better."""
    mesh = FakeMesh()
    mesh.encoders[TEXT].version = "v9"
    answer = await mesh.classify(**INPUTS)
    assert answer.modalities[TEXT].error.code == VersionMismatch.code
    assert statuses(answer) == ["failed", "computed", "computed"]


async def test_a_new_head_is_found_at_once() -> None:
    """An encoder that changed with fusion costs nothing, though the catalog was out of date."""
    mesh = FakeMesh()
    await mesh.classify(text="before")
    mesh.fusion.heads = (head("f2", text="v2"), head("f1"))
    mesh.encoders[TEXT].version = "v2"
    answer = await mesh.classify(**INPUTS)
    assert answer.model_version == "f2"
    assert not answer.degraded


async def test_a_head_that_went_away_is_replaced_at_once() -> None:
    """Cached embeddings of the old version are encoded anew for the head that is left."""
    mesh = FakeMesh(head("f1"))
    await mesh.classify(text="hello")
    mesh.fusion.heads = (head("f2", text="v2"),)
    mesh.encoders[TEXT].version = "v2"
    answer = await mesh.classify(text="hello", image=b"png")
    assert answer.model_version == "f2"
    assert answer.modalities[TEXT].status == "computed"
    assert not answer.degraded


async def test_cached_embeddings_that_encoders_left_behind_are_encoded_anew() -> None:
    """Two encoders that changed together are never mixed with what the cache still holds."""
    mesh = FakeMesh(head("f2", text="v2", image="v2"), head("f1"))
    await mesh.classify(text="hello")
    for modality in (TEXT, IMAGE):
        mesh.encoders[modality].version = "v2"
    answer = await mesh.classify(text="hello", image=b"png")
    assert statuses(answer) == ["computed", "computed", "absent"]
    assert answer.model_version == "f2"


async def test_a_head_that_no_replica_holds_is_given_up() -> None:
    """Fusion says that it holds a head and refuses it: the request is answered by another."""
    mesh = FakeMesh(head("f2", text="v2"), head("f1"))
    await mesh.classify(text="hello")
    mesh.fusion.refused = {"f1"}
    mesh.encoders[TEXT].version = "v2"
    answer = await mesh.classify(text="hello", image=b"png")
    assert answer.model_version == "f2"
    assert not answer.degraded


async def test_fusion_that_refuses_all_its_heads_is_a_version_mismatch() -> None:
    """There is no answer, and no endless asking either."""
    mesh = FakeMesh(head("f2"), head("f1"))
    mesh.fusion.refused = {"f1", "f2"}
    with pytest.raises(VersionMismatch):
        await mesh.classify(text="hello")


async def test_cached_embeddings_that_fit_are_never_encoded_again() -> None:
    """Also while fusion prefers a new head and the encoders are still the old ones."""
    mesh = FakeMesh(head("f2", text="v2"), head("f1"))
    await mesh.classify(text="hello")
    mesh.encoders[TEXT].error = Unavailable("gone")
    answer = await mesh.classify(text="hello", image=b"png")
    assert statuses(answer) == ["cached", "computed", "absent"]
    assert answer.model_version == "f1"
    assert not answer.degraded


async def test_an_explanation_compares_answers_of_one_head() -> None:
    """Though another head would be preferred for what is left without a modality."""
    mesh = FakeMesh(head("f2", text="v2"), head("f1"))
    answer = await mesh.classify(explain=True, text="hello", image=b"png")
    assert answer.model_version == "f1"
    assert mesh.fusion.versions == ["f1"]
    assert answer.modalities[TEXT].contribution == pytest.approx(0.3)
