"""recall(): answers that a process knows already, without a word to anybody."""

from dataclasses import replace

import pytest

from gateway.answers import known
from gateway.cache import Result, pack_result
from gateway.clients import Scores
from tests.unit.gateway.fakes import IMAGE, LABELS, TEXT, FakeMesh, head

INPUTS = {"text": "hello", "image": b"png"}


async def test_what_was_answered_is_recalled() -> None:
    """As cached, and as often as it is asked for; nobody is asked for it."""
    mesh = FakeMesh()
    answered = await mesh.classify(**INPUTS)
    again = mesh.recall(**INPUTS)
    assert again is mesh.recall(**INPUTS)
    assert again.prediction.probabilities == answered.probabilities
    assert [r.status for r in again.prediction.modalities.values()] == ["cached"] * 2 + ["absent"]
    assert len(mesh.fusion.versions) == 1
    assert len(mesh.store.looked_up) == 1


async def test_explanations_and_other_inputs_are_not_known() -> None:
    """Nor anything while fusion has never been seen."""
    mesh = FakeMesh()
    assert mesh.recall(**INPUTS) is None
    await mesh.classify(**INPUTS)
    assert mesh.recall(explain=True, **INPUTS) is None
    assert mesh.recall(text="hello") is None
    mesh.catalog.heads = (head("f2"),)
    assert mesh.recall(**INPUTS) is None


async def test_truncation_is_recalled() -> None:
    """And is that of the modality that was cut."""
    mesh = FakeMesh()
    await mesh.classify(text="long", image=b"png")
    reports = mesh.recall(text="long", image=b"png").prediction.modalities
    assert [reports[m].truncated for m in (TEXT, IMAGE)] == [True, False]


def test_the_same_scores_are_another_answer_to_other_modalities() -> None:
    """And of a head by another name."""
    scores = Scores("fake", "f1", dict.fromkeys(LABELS, 1 / 3))
    packed = pack_result(Result(scores, frozenset()), head())
    one, other = known(packed, head(), [TEXT]), known(packed, head(), [IMAGE])
    assert one.prediction.modalities[TEXT].status == "cached"
    assert other.prediction.modalities[TEXT].status == "absent"
    assert known(packed, head("f2"), [TEXT]).prediction.model_version == "f2"


def test_many_labels_are_answered_as_few() -> None:
    """Though such answers are made anew each time: a thousand would take a hundred megabytes."""
    many = replace(head(), labels=tuple(f"label {number}" for number in range(65)))
    scores = Scores("fake", "f1", dict.fromkeys(many.labels, 1 / 65))
    packed = pack_result(Result(scores, frozenset()), many)
    first, again = known(packed, many, [TEXT]), known(packed, many, [TEXT])
    assert first is not again
    assert first == again


@pytest.mark.parametrize("packed", [b"", b"x", bytes(25) + b"x"])
def test_a_value_that_is_no_result_is_not_known(packed: bytes) -> None:
    """What Redis gave, whoever wrote it there."""
    assert known(packed, head(), [TEXT]) is None
