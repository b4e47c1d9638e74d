"""Which waiting items share a batch."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.grouping import MAX_PADDING, BatchLimits, choose, parts

LIMITS = BatchLimits(max_items=4, max_cost=100.0)


def test_a_single_item_is_a_batch() -> None:
    """Nothing is waited for."""
    assert choose([10.0], LIMITS) == [0]


def test_items_of_one_size_go_in_the_order_of_their_arrival() -> None:
    """The first max_items of them."""
    assert choose([10.0] * 6, LIMITS) == [0, 1, 2, 3]


def test_a_batch_costs_at_most_its_limit() -> None:
    """Three times 30 fit into 100, four times 30 don't."""
    assert choose([30.0] * 4, LIMITS) == [0, 1, 2]


def test_what_fits_of_a_size_is_bounded_in_items_and_cost() -> None:
    """And never nothing."""
    assert [LIMITS.fit(size) for size in (1.0, 30.0, 200.0)] == [4, 3, 1]


def test_a_larger_item_counts_for_all_that_are_padded_to_it() -> None:
    """25 and 30 and 30 cost 90, with a fourth they would cost 120."""
    assert len(choose([25.0, 30.0, 30.0, 25.0], LIMITS)) == 3


def test_the_oldest_is_joined_by_those_nearest_to_it_in_size() -> None:
    """Later items of its size come before earlier ones of another."""
    assert choose([20.0, 30.0, 21.0, 20.0], BatchLimits(3, 240.0)) == [0, 3, 2]


def test_an_item_of_a_very_different_size_waits_for_its_like() -> None:
    """Neither is padded to the other."""
    assert choose([20.0, 90.0, 5.0, 21.0], BatchLimits(8, 400.0)) == [0, 3]


def test_differences_between_small_items_do_not_matter() -> None:
    """A run of their own would cost more than the padding does."""
    assert choose([1.0, 10.0], BatchLimits(8, 1000.0)) == [0, 1]


def test_the_oldest_goes_even_where_it_alone_is_over_the_limit() -> None:
    """And it goes alone."""
    assert choose([500.0, 500.0], LIMITS) == [0]


def test_a_size_that_is_no_number_goes_alone() -> None:
    """It can't be compared, so nothing is padded to it."""
    assert choose([float("nan"), 10.0], LIMITS) == [0]


sizes_of_queues = st.lists(st.floats(min_value=0.0, max_value=1e4), min_size=1, max_size=50)


@given(sizes_of_queues, st.integers(1, 16), st.floats(1.0, 1e4))
def test_every_batch_keeps_the_limits_and_holds_the_oldest(
    sizes: list[float], max_items: int, max_cost: float
) -> None:
    """Whatever waits: no item twice, inside the limits, and no item padded too far."""
    limits = BatchLimits(max_items, max_cost)
    batch = choose(sizes, limits)
    largest = max(sizes[index] for index in batch)
    assert batch[0] == 0
    assert len(set(batch)) == len(batch)
    assert len(batch) == 1 or limits.allow(len(batch), largest)
    assert all(largest <= MAX_PADDING * max(sizes[i], limits.small) for i in batch)


def test_parts_of_one_size_are_about_as_many() -> None:
    """Six that fit by fours are three and three: the shape does not change."""
    assert [len(part) for part in parts([10.0] * 6, LIMITS)] == [3, 3]
    assert [len(part) for part in parts([10.0] * 9, LIMITS)] == [3, 3, 3]


def test_what_is_over_the_limits_by_itself_is_a_part_of_its_own() -> None:
    """And keeps no others from theirs."""
    assert list(parts([10.0, 300.0, 20.0], LIMITS)) == [[1], [2, 0]]


@given(st.lists(st.floats(0.0, 500.0), max_size=40))
def test_parts_hold_every_item_once_and_keep_to_the_limits(sizes: list[float]) -> None:
    """With neighbours in size together."""
    found = list(parts(sizes, LIMITS))
    order = [index for part in found for index in part]
    assert sorted(order) == list(range(len(sizes)))
    assert [sizes[i] for i in order] == sorted(sizes, reverse=True)
    for part in found:
        assert len(part) == 1 or LIMITS.allow(len(part), max(sizes[i] for i in part))
