"""The life of a local mesh: started, watched, tried with a sample, kept up, stopped."""

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from cli.display import Display
from cli.homes import Core, Homes
from cli.readiness import is_ready
from cli.sample import Sample, classified
from cli.supervision import OWN_LOG, Supervisor, supervised
from cli.topology import Process
from cli.watch import MeshFailed, Watch

# How often the processes are looked at, in seconds: while some start, and while all serve. A look
# takes two to three milliseconds of a core, which else are the requests'.
STARTING: Final = 0.25
SERVING: Final = 1.0
# How many lines of its log tell why a process failed.
TAIL: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `sample` is sent once it serves, None for none; time in seconds.

    `cores`: those that processes have for homes, none where they shall run anywhere.
    """

    processes: Sequence[Process]
    url: str
    logs: Path
    cwd: Path
    sample: Sample | None
    start_timeout: float
    cores: Sequence[Core] = ()


async def serve(plan: Plan, console: Console | None = None) -> int:
    """Run a mesh until a signal stops it, or it can't go on; the exit status of the command."""
    console = console or Console(highlight=False, markup=False, emoji=False)
    stop = asyncio.Event()
    watch = Watch(plan.processes, time.monotonic())
    with _stop_signals(stop):
        try:
            async with supervised(plan.processes, plan.logs, plan.cwd, hurry=stop) as supervisor:
                with Display(console, watch, time.monotonic) as display:
                    mesh = LocalMesh(plan, supervisor, watch, display)
                    await mesh.keep(stop)
                console.print("Stopping ... (again to stop at once)")
        except MeshFailed as failure:
            _report(failure, plan.logs, console)
            return 1
    console.print("Stopped." if mesh.served else "Stopped before the mesh was ready.")
    return 0 if mesh.served else 1


@contextlib.contextmanager
def _stop_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    # nohup(1) asks for this signal to be ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


class LocalMesh:
    """A mesh that the supervisor runs. `served` once all of it has been ready."""

    def __init__(self, plan: Plan, supervisor: Supervisor, watch: Watch, display: Display) -> None:
        self._plan = plan
        self._supervisor = supervisor
        self._watch = watch
        self._display = display
        self._homes = Homes(plan.cores)
        self._give_up = time.monotonic() + plan.start_timeout
        self.served = False

    async def keep(self, stop: asyncio.Event) -> None:
        """Watch until `stop`. MeshFailed where the mesh can't go on."""
        watching = asyncio.create_task(self._watch_forever())
        ends = {watching, asyncio.create_task(stop.wait()), asyncio.create_task(self._ended())}
        done, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    async def _ended(self) -> None:
        await self._supervisor.ended()
        if refusal := self._supervisor.refusal():
            raise MeshFailed(OWN_LOG, refusal, log_says_more=False)
        raise MeshFailed(OWN_LOG, "The process manager ended.")

    async def _watch_forever(self) -> None:
        while True:
            await self._look()
            await self._probe()
            self._homes.follow(time.monotonic())
            if not self.served:
                await self._start_serving()
            await asyncio.sleep(SERVING if self._watch.ready else STARTING)

    async def _look(self) -> None:
        sightings = await self._supervisor.look()
        for watched in self._watch.see(sightings, time.monotonic()):
            self._display.died(watched)

    async def _probe(self) -> None:
        loading = self._watch.loading
        answers = await asyncio.gather(*(is_ready(one.process.ready_url) for one in loading))
        for watched, ready in zip(loading, answers, strict=True):
            if ready:
                watched.see_ready(time.monotonic())
                self._display.ready(watched)
        if self._plan.cores and any(answers):
            await self._homes.settle(one for one in self._watch if one.state == "ready")

    async def _start_serving(self) -> None:
        if not self._watch.ready:
            self._require_patience()
            return
        self.served = True
        self._display.started()
        if self._plan.sample:
            self._display.say(await classified(self._plan.sample, self._plan.url))
        self._display.say(f"The mesh serves {self._plan.url} until Ctrl-C. Logs: {self._plan.logs}")

    def _require_patience(self) -> None:
        if time.monotonic() < self._give_up:
            return
        late = next(watched.process.name for watched in self._watch if watched.state != "ready")
        raise MeshFailed(late, f"{late} was not ready after {self._plan.start_timeout:g} s.")


def _report(failure: MeshFailed, logs: Path, console: Console) -> None:
    if failure.log_says_more:
        _show_end(logs / f"{failure.name}.log", console)
    console.print(str(failure), style="bold red", soft_wrap=True)


def _show_end(log: Path, console: Console) -> None:
    with contextlib.suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
        console.print(f"The last lines of {log}:", soft_wrap=True)
        console.print("".join(deque(lines, maxlen=TAIL)), soft_wrap=True)
