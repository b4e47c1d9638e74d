"""Where gateway, fusion and Redis are, while encoders come to work."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cli import homes as homes_module
from cli.homes import Homes
from cli.topology import Process
from cli.watch import Watched
from tests.integration.placed import CORES, family_of, ops_port, places, running

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that a process can have")


@dataclass
class Two:
    """Encoders with a core each, the seconds that either has computed, and a front to move."""

    homes: Homes
    ready: list[Watched]
    computed: dict[int, float]
    redis: int

    def settle(self) -> None:
        """All of them are ready."""
        asyncio.run(self.homes.settle(self.ready))

    def look(self, now: float, sounds: float = 0.0, texts: float = 0.0) -> set[int]:
        """Where the front is, once encoders have computed for so long until `now`."""
        self.computed[0] += sounds
        self.computed[1] += texts
        self.homes.follow(now)
        (place,) = places(self.redis)
        return place


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """Sounds on the first core, texts on the second, and the front with the texts."""
    computed = {0: 0.0, 1: 0.0}
    with (
        running() as sound,
        running() as text,
        ops_port(b'{"core_seconds": 0.008}') as dear,
        ops_port(b'{"core_seconds": 0.002}') as cheap,
        family_of(0) as redis,
    ):
        numbers = {sound.pid: 0, text.pid: 1}
        monkeypatch.setattr(homes_module, "spent", lambda pid: computed[numbers[pid]])
        ready = [
            Watched(Process(name, (), {"MESH_THREADS": "1"}, url, rank=1), 0.0, "ready", pid)
            for name, url, pid in (
                ("audio-encoder", dear, sound.pid),
                ("text-encoder", cheap, text.pid),
                ("redis", dear, redis),
            )
        ]
        started = Two(Homes(CORES[:2]), ready, computed, redis)
        started.settle()
        yield started


def test_the_front_goes_where_encoders_do_least(two: Two) -> None:
    """By what they did since the last look, if it is clearly less there; and not at each look."""
    seen = [
        two.look(100.0),
        two.look(100.5, texts=0.5),  # Too early to look again.
        two.look(101.0, texts=0.5),  # Texts alone: away from them.
        two.look(102.0, sounds=0.2, texts=0.15),  # Hardly a difference.
        two.look(103.0, sounds=0.72, texts=0.56),  # Though the front holds sounds up, they do more.
        two.look(104.0, sounds=1.0, texts=0.6),
    ]
    assert seen == [set(CORES[number]) for number in (1, 1, 0, 0, 1, 1)]


def test_what_encoders_did_to_get_ready_does_not_move_the_front(two: Two) -> None:
    """Else it would begin beside the one that was ready first, which has the most to do."""
    two.look(100.0)
    two.computed[1] += 0.9
    two.settle()
    assert two.look(101.0) == two.look(102.0, sounds=0.5, texts=0.3) == set(CORES[1])
