"""How long a long run is, by fakes of the generator's loops."""

import pytest

from benchmarks.load import Target
from benchmarks.sections import memory
from benchmarks.sections.memory import FIRST, Wear


@pytest.mark.parametrize(("answered", "requests"), [(100, 3000), (2000, 18000)])
def test_it_goes_on_until_so_many_were_given_up(
    monkeypatch: pytest.MonkeyPatch, answered: int, requests: int
) -> None:
    """Of those that are sent to be given up half are answered first. Numbers are used once."""
    numbers: list[int] = []

    def give_up(_: Target, first: int, count: int) -> int:
        numbers.extend(range(first, first + count))
        return (count + 1) // 2

    monkeypatch.setattr(memory, "give_up", give_up)
    monkeypatch.setattr(memory, "send", lambda *_: answered)
    wear = Wear(None)  # type: ignore[arg-type]
    wear.until(requests)
    assert wear.given_up == 0.1 * requests
    assert wear.requests >= requests
    assert numbers == list(range(FIRST, FIRST + wear.sent))
