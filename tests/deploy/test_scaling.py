"""A second container of a service: found by the gateway, and given its share."""

from tests.deploy.stack import Stack, note
from tests.e2e.asking import ask_all, load
from tests.waiting import within

# Seconds. A gateway looks up names when a connection ends, which nodes make happen every 30 s.
FOUND = 60.0
ANSWERS = 100
# The share that the one with less has at least.
LEAST = 0.3


def answered_items(stack: Stack) -> list[float]:
    """How many items each text encoder has answered."""
    return [one.value("mesh_items_total", outcome="OK") for one in stack.metrics("text-encoder")]


def test_two_encoders_share_the_work(stack: Stack, figures: list[str]) -> None:
    """No request is lost or degraded while the second one comes, and then both have half."""
    with load(ask_all(stack.url), clients=2, pause=0.05) as under_load:
        stack.up("--no-recreate", "--scale", "text-encoder=2", "text-encoder")
        seconds = within(FOUND, lambda: min(answered_items(stack)) > 5, lambda: "one gets nothing")
        before = answered_items(stack)
        under_load.wait_for(ANSWERS)
        after = answered_items(stack)
    split = [now - then for now, then in zip(after, before, strict=True)]
    note(figures, f"scale text-encoder to 2: used {seconds:.1f} s after healthy, split {split}")
    under_load.require_whole()
    assert min(split) > LEAST * sum(split)


def test_one_encoder_less_loses_nothing(stack: Stack) -> None:
    """It finishes what it has, and the gateway turns to the other one."""
    with load(ask_all(stack.url), clients=2, pause=0.05) as under_load:
        under_load.wait_for(5)
        stack.up("--no-recreate", "--scale", "text-encoder=1", "text-encoder")
        under_load.wait_for(20)
    under_load.require_whole()
    assert len(stack.containers("text-encoder")) == 1
