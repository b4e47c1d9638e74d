"""When supervisord's loop turns, and what it does in a turn."""

import select
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor.states import ProcessStates

from cli.log_pipes import LogPoller
from cli.manager import Manager, _waking


class Group:
    """Of one process; counts how often it was advanced."""

    def __init__(self, state: int) -> None:
        self.processes = {"fake": SimpleNamespace(state=state)}
        self.advanced = 0

    def transition(self) -> None:
        """As supervisor's group has it."""
        self.advanced += 1

    def __lt__(self, other: "Group") -> bool:
        return id(self) < id(other)


def manager(*states: int) -> tuple[Any, list[Group]]:
    """One whose processes are in these states, and that no signal waits for."""
    made = Manager(SimpleNamespace(get_signal=lambda: None))
    groups = [Group(state) for state in states]
    made.process_groups = {str(number): group for number, group in enumerate(groups)}
    return made, groups


def test_what_has_ended_is_started_in_the_same_turn() -> None:
    """Who has ended was seen before; the next turn may be a second away."""
    made, groups = manager(ProcessStates.RUNNING, ProcessStates.EXITED)
    made.handle_signal()
    assert [group.advanced for group in groups] == [1, 1]


def test_a_turn_in_which_nothing_ended_does_no_more() -> None:
    """There are many that only read what processes have logged."""
    made, groups = manager(ProcessStates.RUNNING, ProcessStates.STARTING)
    made.handle_signal()
    assert [group.advanced for group in groups] == [0, 0]


def test_all_is_started_before_the_first_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may take a second."""
    made, groups = manager(ProcessStates.STOPPED)
    made.options.get_socket_map = dict
    made.options.poller = SimpleNamespace(close=lambda: None)
    advanced: list[int] = []
    loop = "supervisor.supervisord.Supervisor.runforever"
    monkeypatch.setattr(loop, lambda self: advanced.append(groups[0].advanced))
    made.runforever()
    assert advanced == [1]


def test_the_pipes_of_all_processes_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As supervisord's own poller does, but logs wait for more of them."""
    made, groups = manager(ProcessStates.STOPPED)
    made.options.get_socket_map = dict
    made.options.poller = SimpleNamespace(close=lambda: None)
    groups[0].get_dispatchers = lambda: {7: "log"}  # type: ignore[attr-defined]
    watched: list[int] = []
    loop = "supervisor.supervisord.Supervisor.runforever"
    monkeypatch.setattr(loop, lambda self: watched.extend(self.options.poller.watched()))
    made.runforever()
    assert isinstance(made.options.poller, LogPoller)
    assert watched == [7]


def test_each_signal_brings_a_turn_of_its_own() -> None:
    """Since supervisord does what one of them says in a turn."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    dispatchers: dict[int, Any] = {}
    try:
        with _waking(dispatchers):
            for _ in range(2):
                signal.raise_signal(signal.SIGUSR1)
            [(descriptor, alarm)] = dispatchers.items()
            left = [_waits(descriptor)]
            for _ in range(2):
                alarm.handle_read_event()
                left.append(_waits(descriptor))
            alarm.handle_read_event()  # Where there is nothing it does not wait.
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert left == [True, True, False]
    assert not dispatchers


def _waits(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
