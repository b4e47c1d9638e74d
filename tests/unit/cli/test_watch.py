"""The bookkeeping over processes that live, get ready and die."""

import pytest

from cli.topology import Process
from cli.watch import MeshFailed, Sighting, Watch, Watched

NODE = Process("fusion", ("true",), {}, "http://127.0.0.1:1/readyz", rank=1)
FRONT = Process("gateway", ("true",), {}, "http://127.0.0.1:2/readyz", rank=2, essential=True)


def alive(started: int) -> dict[str, Sighting]:
    """A look that finds the node alive."""
    return {"fusion": Sighting(pid=7, started=started)}


def dead(started: int) -> dict[str, Sighting]:
    """A look that finds it ended, or not yet started where `started` is 0."""
    return {"fusion": Sighting(pid=0, started=started)}


def watch() -> tuple[Watch, Watched]:
    """A watch over one node."""
    watching = Watch([NODE], 0.0)
    [node] = watching
    return watching, node


def test_a_process_waits_loads_and_is_ready() -> None:
    """Each state begins when it was first seen."""
    watching, node = watch()
    watching.see(dead(0), 1.0)
    assert (node.state, node.since, watching.loading) == ("waiting", 0.0, [])
    watching.see(alive(100), 2.0)
    assert (node.state, node.since, watching.loading) == ("loading", 2.0, [node])
    node.see_ready(5.0)
    assert (node.state, node.since, watching.ready) == ("ready", 5.0, True)


def test_nothing_changes_while_a_life_goes_on() -> None:
    """A second look at the same life is no news."""
    watching, node = watch()
    watching.see(alive(100), 1.0)
    assert watching.see(alive(100), 2.0) == []
    assert (node.state, node.since) == ("loading", 1.0)


def test_an_empty_look_is_no_death() -> None:
    """The supervisor was not there to be asked; it says nothing about its processes."""
    watching, node = watch()
    watching.see(alive(100), 1.0)
    assert watching.see({}, 2.0) == []
    assert node.state == "loading"


def test_a_death_is_seen_once() -> None:
    """Further looks at the same dead process are no further deaths."""
    watching, node = watch()
    watching.see(alive(100), 1.0)
    assert watching.see(dead(100), 2.0) == [node]
    assert watching.see(dead(100), 3.0) == []
    assert (node.state, node.deaths) == ("waiting", 1)


def test_a_restart_between_two_looks_is_a_death() -> None:
    """What was ready loads again, though it was never seen dead."""
    watching, node = watch()
    watching.see(alive(100), 1.0)
    node.see_ready(2.0)
    assert watching.see(alive(103), 3.0) == [node]
    assert (node.state, watching.ready) == ("loading", False)


def test_a_whole_life_between_two_looks_is_a_death() -> None:
    """It was started and ended, though it was never seen alive."""
    watching, node = watch()
    assert watching.see(dead(100), 1.0) == [node]
    assert watching.see(dead(102), 2.0) == [node]
    assert node.deaths == 2


def test_three_deaths_before_ready_are_the_end() -> None:
    """The process is named."""
    watching, _ = watch()
    watching.see(dead(100), 1.0)
    watching.see(dead(102), 2.0)
    with pytest.raises(MeshFailed, match=r"^fusion died 3 times") as failure:
        watching.see(dead(105), 3.0)
    assert failure.value.name == "fusion"


def test_what_was_ever_ready_may_die_often() -> None:
    """It worked once, so that it is started again for as long as the mesh lives."""
    watching, node = watch()
    watching.see(alive(100), 1.0)
    node.see_ready(2.0)
    for started in range(101, 110):
        assert watching.see(alive(started), 3.0) == [node]


def test_the_death_of_an_essential_process_is_the_end() -> None:
    """Even after it was ready."""
    watching = Watch([FRONT], 0.0)
    [front] = watching
    watching.see({"gateway": Sighting(pid=7, started=100)}, 1.0)
    front.see_ready(2.0)
    with pytest.raises(MeshFailed, match=r"^The gateway ended\.$"):
        watching.see({"gateway": Sighting(pid=0, started=100)}, 3.0)
