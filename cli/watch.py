"""What became of each process, from one look at the supervisor to the next. Pure bookkeeping.

A process lives many lives: the supervisor starts it again after each. It is waiting between them,
loading until it says that it is ready, and ready until that life ends.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cli.topology import Process

State = Literal["waiting", "loading", "ready"]

# So often may a process die before it was ever ready; then it is taken to be broken for good.
LIVES: Final = 3


class MeshFailed(Exception):
    """The mesh can't go on, because of the process named `name`; whether its log says more."""

    def __init__(self, name: str, message: str, log_says_more: bool = True) -> None:
        super().__init__(message)
        self.name = name
        self.log_says_more = log_says_more


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the supervisor says of a process: its id, 0 without a life, and when that began.

    `started` is in whole seconds, 0 where it never was. It tells lives apart, since the supervisor
    waits a second or more before it starts again what died young.
    """

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether there is such a process."""
        return self.pid > 0


@dataclass(slots=True)
class Watched:
    """One process as last seen. `since`: when its state began, in seconds of any one clock."""

    process: Process
    since: float
    state: State = "waiting"
    pid: int = 0
    started: int = 0
    was_ready: bool = False
    deaths: int = 0

    def see(self, sighting: Sighting, now: float) -> bool:
        """Take in a sighting; whether a life has ended since the last one."""
        was_alive, new_life = self.state != "waiting", sighting.started != self.started
        unseen_life = new_life and not sighting.alive
        died = unseen_life or (was_alive and (new_life or not sighting.alive))
        self.pid, self.started = sighting.pid, sighting.started
        if died:
            self.deaths += 1
            self._enter("waiting", now)
        if sighting.alive and self.state == "waiting":
            self._enter("loading", now)
        return died

    def see_ready(self, now: float) -> None:
        """Take in that its present life answers that it is ready."""
        self._enter("ready", now)
        self.was_ready = True

    def _enter(self, state: State, now: float) -> None:
        self.state, self.since = state, now


class Watch:
    """All processes of one mesh. It raises MeshFailed once the mesh can't go on."""

    def __init__(self, processes: Iterable[Process], now: float) -> None:
        self._watched = {process.name: Watched(process, now) for process in processes}

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    @property
    def ready(self) -> bool:
        """Whether every process is ready."""
        return all(watched.state == "ready" for watched in self)

    @property
    def loading(self) -> list[Watched]:
        """Those that live, and have yet to say that they are ready."""
        return [watched for watched in self if watched.state == "loading"]

    def see(self, sightings: Mapping[str, Sighting], now: float) -> list[Watched]:
        """Take in a look at all processes; those that died since the last one."""
        seen = [watched for watched in self if watched.process.name in sightings]
        dead = [one for one in seen if one.see(sightings[one.process.name], now)]
        for watched in dead:
            _require_going_on(watched)
        return dead


def _require_going_on(dead: Watched) -> None:
    name = dead.process.name
    if dead.process.essential:
        raise MeshFailed(name, f"The {name} ended.")
    if not dead.was_ready and dead.deaths >= LIVES:
        raise MeshFailed(name, f"{name} died {LIVES} times before it was ever ready.")
