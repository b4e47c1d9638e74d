"""Supervisord, whose children are copies of itself that have loaded already what they run.

    python -m cli.zygote -n -c supervisord.conf

Of all that a process of the mesh imports, the others import most as well: 30 to 40 MiB each, and a
second of a core. This process imports it once, and those that it forks share its memory until they
write to it. They need not start anew to run something else: a program `python -m PACKAGE` is that
package's `__main__`, run in the fork. Any other program, and one that can't be loaded ahead, is
executed, as supervisord does it.

Linux alone: elsewhere system libraries may not survive a fork, and all programs are executed.
"""

import atexit
import gc
import importlib
import os
import runpy
import shlex
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from setproctitle import setproctitle, setthreadtitle
from supervisor import supervisord
from supervisor.medusa.asyncore_25 import ExitNow

from cli.log_pipes import LogOptions
from cli.manager import Manager
from cli.stop_time import stop_seconds
from cli.supervision import REFUSAL
from mesh.mapped import unload_libraries


@dataclass(frozen=True, slots=True)
class Program:
    """A command `env NAME=VALUE ... python -m package argument ...`, taken apart."""

    settings: Mapping[str, str]
    package: str
    arguments: Sequence[str]

    @classmethod
    def of(cls, words: Sequence[str]) -> Self | None:
        """The program of a command; None where it is another kind of command."""
        if not words or os.path.basename(words[0]) != "env":
            return None
        settings, rest = {}, list(words[1:])
        while rest and "=" in rest[0]:
            name, _, settings[name] = rest.pop(0).partition("=")
        if rest[:2] != [sys.executable, "-m"] or len(rest) < 3:
            return None
        return cls(settings, rest[2], rest[3:])

    @property
    def main(self) -> str:
        """The module that is run."""
        return f"{self.package}.__main__"


class Options(LogOptions):
    """Supervisord's, with its way to become another program, in a child that it has forked."""

    # The packages that need not be executed.
    loaded: Collection[str] = ()

    # The signals that a child lets through once it has forgotten its parent.
    _mask: Collection[signal.Signals | int] = ()

    def fork(self) -> int:
        """A child in which signals wait: by its parent's handlers one to stop would be lost."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        else:
            self._mask = mask
        return pid

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Replace the process, or only what it does, where that is here already."""
        _forget_the_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        program = Program.of(argv)
        if program and program.package in self.loaded:
            _become(program, env)
        super().execve(filename, argv, env)


def _become(program: Program, env: Mapping[str, str]) -> NoReturn:
    """Do in this process what a new one would; ends with it."""
    status = 1
    try:
        sys.argv[:] = [program.package, *program.arguments]
        # For ps(1). Before the environment changes, by which the place of the title is found.
        setproctitle(shlex.join([sys.executable, "-m", *sys.argv]))
        setthreadtitle(os.path.basename(sys.executable))
        os.environ.clear()
        os.environ.update({**env, **program.settings})
        runpy.run_module(program.package, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = _status(end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # Not by returning: whoever forked would go on as a second supervisord. What Python itself
        # does in the end is to wait for threads, and then this.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_the_parent() -> None:
    """Give signals back their meaning, as a new program finds them: ignored ones stay ignored."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _status(end: SystemExit) -> int:
    """The exit status, as Python itself has it: words are said, and mean 1."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def load(programs: Iterable[Program]) -> set[str]:
    """Import all that these programs will; the packages of which that was possible."""
    loaded = set()
    for program in programs:
        with _telling(program.main):
            importlib.import_module(program.main)
            loaded.add(program.package)
        # It is run as another module, `__main__`, which Python warns of where this one is there.
        sys.modules.pop(program.main, None)
    if "mesh.command" in sys.modules:  # There are nodes among them.
        with _telling("what nodes import later"):
            from mesh.command import import_ahead

            import_ahead()
    return loaded


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Go on where something can't be imported: the program's own log then says more."""
    try:
        yield
    except (Exception, SystemExit) as error:
        print(f"not loaded ahead: {what}: {error!r}", file=sys.stderr)


def main() -> None:
    """Be supervisord until a signal ends it."""
    options: Any = Options()
    options.realize(doc=supervisord.__doc__)
    options.first, options.test = True, False
    try:
        give_time_to_stop(options)
    except SystemExit as refusal:
        Path(options.configfile).with_name(REFUSAL).write_text(str(refusal), encoding="utf-8")
        raise
    if sys.platform == "linux":
        options.loaded = load(_programs(options))
        # A collector would write to every object, and so to every page that is shared.
        gc.collect()
        gc.freeze()
        unload_libraries()
    with suppress(ExitNow):
        Manager(options).main()
    options.close_httpservers()
    options.close_logger()


def give_time_to_stop(options: Any) -> None:
    """Let no process be killed before its settings let it end. SystemExit where they are wrong.

    Here, since the command would have to import for it what this process imports anyway.
    """
    seconds = stop_seconds()
    for group in options.process_group_configs:
        for process in group.process_configs:
            process.stopwaitsecs = seconds


def _programs(options: Any) -> list[Program]:
    """Those of the configuration that can be forked."""
    commands = [
        shlex.split(process.command)
        for group in options.process_group_configs
        for process in group.process_configs
    ]
    return [program for program in map(Program.of, commands) if program]


if __name__ == "__main__":
    main()
