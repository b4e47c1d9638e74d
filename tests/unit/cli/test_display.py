"""What `sensemesh up` says, in a terminal and elsewhere."""

import io
import re
from collections.abc import Iterator
from itertools import count

from rich.console import Console

from cli.display import Display
from cli.topology import Process
from cli.watch import Sighting, Watch

NODE = Process("fusion", ("true",), {}, "http://127.0.0.1:1/readyz", rank=1)


def display(terminal: bool) -> tuple[Display, Watch, io.StringIO]:
    """A display of one node, with a clock on which every look is a second later."""
    ticks: Iterator[int] = count()
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, color_system=None, width=80)
    watch = Watch([NODE], 0.0)
    return Display(console, watch, lambda: float(next(ticks))), watch, output


def test_elsewhere_each_process_gets_a_line_when_it_is_ready() -> None:
    """With the seconds that it took, and nothing that moves."""
    shown, watch, output = display(terminal=False)
    with shown:
        [node] = watch
        node.see_ready(7.25)
        shown.ready(node)
    assert output.getvalue() == "fusion is ready after 7.2 s\n"


def test_in_a_terminal_the_table_shows_the_state_of_each() -> None:
    """The last one stays when the mesh is ready."""
    shown, watch, output = display(terminal=True)
    with shown:
        [node] = watch
        node.see_ready(7.25)
        shown.ready(node)
        shown.started()
    last = output.getvalue().rpartition("✔")[2]
    assert re.match(r"\s+fusion\s+ready\s+7\.2 s", last)


def test_a_death_and_a_return_are_told() -> None:
    """Once the mesh serves, with the time of the day."""
    shown, watch, output = display(terminal=False)
    [node] = watch
    with shown:
        shown.started()
        node.see(Sighting(pid=7, started=100), 1.0)
        node.see(Sighting(pid=7, started=101), 2.0)
        shown.died(node)
        shown.ready(node)
    died, ready = output.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d fusion died; it is started again\.", died)
    assert re.fullmatch(r"\d\d:\d\d:\d\d fusion is ready again\.", ready)


def test_words_from_elsewhere_are_not_markup() -> None:
    """What looks like rich's markup or a code for an emoji is said as it is."""
    shown, _, output = display(terminal=False)
    shown.say("[bold]logs/[1]:smile:[/bold]")
    assert output.getvalue() == "[bold]logs/[1]:smile:[/bold]\n"
