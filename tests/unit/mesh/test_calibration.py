"""The batch limit that a start measures."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from mesh.calibration import PER_BATCH, best_costs, core_seconds, seconds_per_item, usual
from tests.fake_models import FakeEncoder, FakeItem

# Of FakeEncoder's example.
SIZE = len("example")


@dataclass
class Timed(FakeEncoder):
    """Takes so many seconds for each batch and for each item, by a clock of its own."""

    batch: float
    item: float
    crowded: int = 1000
    now: float = 0.0
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """Beyond `crowded` items each takes twice as long."""
        self.sizes.append(len(items))
        self.now += self.batch + len(items) * self.item * (1 + (len(items) > self.crowded))
        return super().forward(items)

    def clock(self) -> float:
        """Its time."""
        return self.now


def limit(encoder: Timed) -> float:
    """The batch that it is given, in items."""
    return best_costs("example", encoder, encoder.clock).batch / SIZE


def part(encoder: Timed) -> float:
    """The part of it that the model is given, in items."""
    return best_costs("example", encoder, encoder.clock).micro_batch / SIZE


def test_where_batches_save_nothing_items_go_one_by_one() -> None:
    """A larger batch would only make them wait for each other."""
    assert limit(Timed(batch=0.0, item=1.0)) == 1


def test_where_a_batch_costs_much_batches_are_as_large_as_they_may_be() -> None:
    """The encoder's own limit is the end of it."""
    encoder = Timed(batch=1.0, item=0.001)
    assert limit(encoder) == 128
    assert max(encoder.sizes) * SIZE <= encoder.max_batch_size


@pytest.mark.parametrize(("batch", "most", "best"), [(1.0, 512, 512), (1.0, 24, 16), (0.0, 8, 1)])
def test_a_device_of_its_own_takes_more_than_fits_a_cpus_caches(
    batch: float, most: int, best: int
) -> None:
    """Up to a number of items, however long that takes; and batches cost nothing beside it."""
    encoder = Timed(batch=batch, item=0.001)
    costs = best_costs("example", encoder, encoder.clock, most)
    assert (costs.batch / SIZE, costs.micro_batch / SIZE) == (best, best)


def test_the_smallest_batch_that_is_nearly_the_best_is_taken() -> None:
    """With what a call costs, 4 items take 1.04 each, more of them hardly less."""
    assert limit(Timed(batch=0.0, item=PER_BATCH / 0.15)) == 4


def test_the_smallest_part_that_is_nearly_the_best_is_taken() -> None:
    """4 items take 1.04 each, more of them hardly less."""
    assert part(Timed(batch=0.15, item=1.0)) == 4


def test_parts_end_where_they_get_slower_and_batches_go_on() -> None:
    """As where they leave a processor's cache; a batch of several parts still saves calls."""
    encoder = Timed(batch=PER_BATCH, item=PER_BATCH, crowded=8)
    assert (part(encoder), limit(encoder)) == (8, 16)


def test_a_part_counts_as_one_that_comes_after_its_like() -> None:
    """What an engine does where the shape changes, a batch of many parts does once."""
    encoder = Changing(batch=0.0, item=1.0)
    assert part(encoder) == 1


class Changing(Timed):
    """Takes ten seconds more for a batch that is not like the last one."""

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """The same numbers."""
        self.now += 10 * (self.sizes[-1:] != [len(items)])
        return super().forward(items)


class Disturbed(Timed):
    """Takes three times as long for everything between its 20th and its 40th batch."""

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """The same numbers."""
        before = self.now
        found = super().forward(items)
        if 20 <= len(self.sizes) < 40:
            self.now += 2 * (self.now - before)
        return found


def test_a_slow_moment_changes_nothing() -> None:
    """All sizes are measured in turns, and each has its best time."""
    assert part(Disturbed(batch=0.15, item=1.0)) == part(Timed(batch=0.15, item=1.0))


def test_the_limit_is_in_the_encoders_unit() -> None:
    """Items times their size."""
    encoder = Timed(batch=0.0, item=1.0)
    assert best_costs("example", encoder, encoder.clock) == (SIZE, SIZE)


def test_an_example_over_the_limit_is_measured_alone() -> None:
    """It is its own batch when it is served, too."""
    encoder = Timed(batch=1.0, item=1.0)
    encoder.max_batch_size = 1.0
    assert limit(encoder) == 1


def test_the_time_of_an_item_is_that_in_a_small_batch() -> None:
    """What a batch costs beside the model is none of the model's."""
    encoder = Timed(batch=1.0, item=2.0)
    assert seconds_per_item(encoder, encoder.clock) == pytest.approx(2.25)


def test_an_input_takes_of_a_core_what_it_takes_alone() -> None:
    """In a batch of its own, whatever larger ones would save; to wait takes nothing."""
    encoder = Timed(batch=1.0, item=0.5)
    assert 0 <= core_seconds("one", encoder) < 0.5
    assert set(encoder.sizes) == {1}


@pytest.mark.parametrize("raws", [["s", "middle", 9 * "long"], ["s", "middle"], ["middle"]])
def test_the_usual_input_is_of_the_middle_size(raws: list[str]) -> None:
    """The larger of the two where there are two."""
    assert usual(raws, FakeEncoder()) == "middle"
