"""A new encoder and the head that was trained on it, rolled out as docs/deploy.md says."""

from collections.abc import Iterator
from time import monotonic

import pytest

from tests.deploy.stack import Stack, note
from tests.e2e.asking import answered, ask_all, load, predict, statuses
from tests.e2e.inputs import AUDIO, IMAGE, TEXT
from tests.e2e.member import http
from tests.waiting import within

SAMPLES = {"text": TEXT, "image": IMAGE, "audio": AUDIO}
OLD, NEW = "models/emotion6", "/models/turned"


@pytest.fixture
def settled(stack: Stack) -> Iterator[Stack]:
    """A mesh that has the default model again when the test is over."""
    yield stack
    stack.configure(FUSION_MODEL=OLD, TEXT_ENCODER_MODEL=OLD)


def held(stack: Stack) -> list[str]:
    """The versions of the heads that the gateway knows of, preferred first."""
    return [one["version"] for one in http.get(f"{stack.url}/v1/model").json()["models"]]


def test_a_roll_out_mixes_nothing_and_loses_nothing(settled: Stack, figures: list[str]) -> None:
    """Both heads, the encoder, the new head alone: every answer is whole, and of either version."""
    stack = settled
    before = answered(predict(stack.url, SAMPLES))
    [old] = held(stack)
    started = monotonic()
    with load(ask_all(stack.url), clients=2, pause=0.1) as under_load:
        under_load.wait_for(5)
        stack.roll("fusion", FUSION_MODEL=f"{NEW},{OLD}")
        stack.roll("text-encoder", TEXT_ENCODER_MODEL=NEW)
        under_load.wait_for(5)
        stack.roll("fusion", FUSION_MODEL=NEW)
        within(10, lambda: len(held(stack)) == 1, lambda: f"fusion holds {held(stack)}")
        under_load.wait_for(5)
    count = len(under_load.answers)
    note(figures, f"roll-out: {count} answers in {monotonic() - started:.0f} s, all whole")
    under_load.require_whole()
    [new] = held(stack)
    versions = [body["model"]["version"] for _, body in under_load.answers]
    assert (set(versions), versions[0], versions[-1]) == ({old, new}, old, new)

    # What is left is the same as before only where text's new embedding met the new head.
    after = answered(predict(stack.url, SAMPLES))
    assert statuses(after)["text"] == "computed"
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-2)
