"""What `sensemesh up` says while it runs: a live table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cli.watch import Watch, Watched

STYLES: Final = {"waiting": "dim", "loading": "yellow", "ready": "green"}


class Display:
    """Shows a starting mesh until all of it is ready, and from then on only what happens to it."""

    def __init__(self, console: Console, watch: Watch, clock: Callable[[], float]) -> None:
        self._console = console
        self._watch = watch
        self._clock = clock
        self._began = clock()
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8)
        self._starting = True

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.started()

    def started(self) -> None:
        """The whole mesh is ready, or never will be: leave the table as it stands."""
        if self._console.is_terminal and self._starting:
            self._live.stop()
        self._starting = False

    def ready(self, watched: Watched) -> None:
        """A process became ready, for the first time or after it had died."""
        name = watched.process.name
        if watched.deaths:
            self.say(f"{name} is ready again.", style="green")
        elif not self._console.is_terminal:
            self.say(f"{name} is ready after {watched.since - self._began:.1f} s")

    def died(self, watched: Watched) -> None:
        """A process died, and the supervisor is about to start it again."""
        self.say(f"{watched.process.name} died; it is started again.", style="red")

    def say(self, message: str, style: str = "") -> None:
        """Print one line or more, above the table while there is one, with the time after that."""
        stamp = "" if self._starting else time.strftime("%H:%M:%S ")
        self._console.print(Text(stamp + message, style=style), soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for watched in self._watch:
            table.add_row(*self._row(watched))
        return table

    def _row(self, watched: Watched) -> tuple[Text | Spinner, Text, Text, Text]:
        ready = watched.state == "ready"
        mark = Text("✔", "green") if ready else self._spinner
        seconds = (watched.since if ready else self._clock()) - self._began
        state = Text(watched.state, STYLES[watched.state])
        return mark, Text(watched.process.name), state, Text(f"{seconds:.1f} s", "dim")
