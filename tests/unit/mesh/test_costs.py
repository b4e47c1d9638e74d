"""What batches and their parts may cost, where the settings say some of it."""

import pytest

from mesh import loading
from mesh.settings import NodeSettings


@pytest.mark.parametrize(
    ("on_cpu", "asked", "expected"),
    [
        (True, (0.0, 0.0), (8.0, 2.0)),
        (True, (64.0, 0.0), (64.0, 2.0)),
        (True, (0.0, 20.0), (20.0, 20.0)),
        (False, (0.0, 0.0), (8.0, 8.0)),
        (False, (64.0, 0.0), (64.0, 64.0)),
        (False, (64.0, 16.0), (64.0, 16.0)),
    ],
)
def test_of_batches_and_parts_the_one_that_nobody_set_follows(
    on_cpu: bool,
    asked: tuple[float, float],
    expected: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part fits into a batch, and on a device of its own it is all of one."""
    monkeypatch.setattr(loading, "is_on_cpu", lambda _: on_cpu)
    measured = {"max_batch_cost": 8.0, "micro_batch_cost": 2.0 if on_cpu else 8.0}
    batch, micro = asked
    found = loading._settled(NodeSettings(max_batch_cost=batch, micro_batch_cost=micro), measured)
    assert (found.max_batch_cost, found.micro_batch_cost) == expected
