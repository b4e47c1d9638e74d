"""Which core an encoder gets."""

import pytest

from cli.homes import Core, shared_out

ONE, OTHER, THIRD, FOURTH = (Core({number}) for number in range(4))


@pytest.mark.parametrize(
    ("cores", "homes"),
    [
        ([ONE], {"audio": ONE, "text": ONE, "image": ONE}),
        ([ONE, OTHER], {"audio": ONE, "text": OTHER, "image": OTHER}),
        ([ONE, OTHER, THIRD, FOURTH], {"audio": ONE, "text": OTHER, "image": THIRD}),
    ],
)
def test_the_dearest_has_a_core_for_itself(cores: list[Core], homes: dict[str, Core]) -> None:
    """The others share what is left, where there is little."""
    assert shared_out({"text": 0.005, "audio": 0.012, "image": 0.003}, cores) == homes


def test_what_costs_the_same_is_spread() -> None:
    """Two each."""
    homes = shared_out(dict.fromkeys("abcd", 0.01), [ONE, OTHER])
    assert sorted(map(min, homes.values())) == [0, 0, 1, 1]


def test_without_costs_nobody_is_moved() -> None:
    """As where every encoder has a device of its own."""
    assert shared_out({}, [ONE, OTHER]) == {}
