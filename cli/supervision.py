"""Supervisor, the process manager, run for one mesh, of which it leaves nothing behind.

It starts the processes, keeps their logs, starts again what dies (later each time, where it dies
young), and stops all in order, each group only after those that stand on it.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
import xmlrpc.client
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

from supervisor.xmlrpc import SupervisorTransport

from cli.topology import Process
from cli.watch import Sighting

# A process that ends sooner after its start than this many seconds died young.
YOUNG: Final = 10
# Paths of Unix sockets are limited to 108 bytes, and supervisor appends to ours while it starts.
SOCKET_PATH_MAX: Final = 90
SOCKET: Final = "supervisor.sock"
OWN_LOG: Final = "supervisor"
# The file beside the configuration in which supervisord says why it does not begin.
REFUSAL: Final = "refusal"
PR_SET_PDEATHSIG: Final = 1

HEAD: Final = f"""\
[supervisord]
nodaemon = true
silent = true
logfile = %(here)s/logs/{OWN_LOG}.log
pidfile = %(here)s/supervisord.pid

[unix_http_server]
file = %(here)s/{SOCKET}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


def configuration(processes: Sequence[Process]) -> str:
    """Supervisor's configuration for these processes; logs go to `logs/` beside its file.

    Those of one rank make a group, which stops as one; groups stop in the order of falling rank.
    """
    by_rank = groupby(sorted(processes, key=_rank), key=_rank)
    groups = [_group(rank, [process.name for process in members]) for rank, members in by_rank]
    return "\n".join([HEAD, *map(_program, processes), *groups])


def _rank(process: Process) -> int:
    return process.rank


def _group(rank: int, names: Sequence[str]) -> str:
    return f"[group:rank{rank}]\nprograms = {','.join(names)}\npriority = {rank}\n"


def _program(process: Process) -> str:
    # env(1) sets the variables, since supervisor's own `environment` can't hold every character.
    settings = [f"{name}={value}" for name, value in process.env.items()]
    command = " ".join(map(_quoted, ["env", *settings, *process.argv]))
    # An essential process is not started again: its end is the mesh's.
    return f"""\
[program:{process.name}]
command = {command}
autorestart = {str(not process.essential).lower()}
startretries = {0 if process.essential else 1_000_000}
startsecs = {YOUNG}
killasgroup = true
redirect_stderr = true
stdout_logfile = %(here)s/logs/{process.name}.log
stdout_logfile_backups = 1
"""


def _quoted(word: str) -> str:
    # For the shell-like splitting of commands, and before it for expansion and for comments, which
    # begin with a "#" or ";" after white space: a backslash before each of them parts the two.
    return re.sub(r"([^\w@+=:,./-])", r"\\\1", word).replace("%", "%%") or "''"


class Supervisor:
    """A running supervisord. Its session holds every process that it started, and theirs."""

    def __init__(self, daemon: asyncio.subprocess.Process, folder: Path) -> None:
        self._daemon = daemon
        self._folder = folder
        self._url = f"unix://{folder / SOCKET}"

    async def ended(self) -> None:
        """Return when supervisord has ended, whatever ended it."""
        await self._daemon.wait()

    def refusal(self) -> str:
        """Why supervisord did not begin, as where a setting can't be used; empty where it did."""
        with contextlib.suppress(OSError):
            return (self._folder / REFUSAL).read_text(encoding="utf-8")
        return ""

    async def look(self) -> dict[str, Sighting]:
        """Every process by name; empty while supervisord starts and when it has ended."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> dict[str, Sighting]:
        # A new connection each time: one that once failed never works again.
        transport = cast(Any, SupervisorTransport(serverurl=self._url))
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport) as rpc:
                found = cast(list[dict[str, Any]], rpc.supervisor.getAllProcessInfo())
        except OSError:
            return {}
        return {info["name"]: Sighting(info["pid"], info["start"]) for info in found}

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop all processes in order; kill what is left after that, or as soon as `hurry` is set.

        That event may still be set from before; only its next time counts.
        """
        hurry.clear()
        with contextlib.suppress(ProcessLookupError):
            self._daemon.terminate()
        waits = [asyncio.create_task(self.ended()), asyncio.create_task(hurry.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for pid in session_members(self._daemon.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.ended()


@contextlib.asynccontextmanager
async def supervised(
    processes: Sequence[Process], logs: Path, cwd: Path, hurry: asyncio.Event
) -> AsyncIterator[Supervisor]:
    """Run these processes in `cwd` for as long as the block lasts; `hurry` as in `Supervisor.stop`.

    Each one's output goes to its file in `logs`, an absolute path.
    """
    with _private_folder() as folder:
        (folder / "logs").symlink_to(logs)
        (folder / "supervisord.conf").write_text(configuration(processes), encoding="utf-8")
        supervisor = Supervisor(await _start(folder, cwd), folder)
        try:
            yield supervisor
        finally:
            await supervisor.stop(hurry)


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    longest = max(0, SOCKET_PATH_MAX - len("/sensemesh-12345678/" + SOCKET))
    parent = "/tmp" if len(tempfile.gettempdir()) > longest else None
    with tempfile.TemporaryDirectory(prefix="sensemesh-", dir=parent) as folder:
        yield Path(folder)


async def _start(folder: Path, cwd: Path) -> asyncio.subprocess.Process:
    argv = ["-m", "cli.zygote", "-n", "-c", str(folder / "supervisord.conf")]
    with (folder / "logs" / f"{OWN_LOG}.log").open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal is for us alone: we stop the others, in order.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def _end_with_parent() -> None:
    # Even a parent that is killed leaves no mesh behind.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def session_members(session: int) -> list[int]:
    """The processes of a session, as Linux lists them in /proc; none where there is no /proc."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if _session_of(stat) == session
    ]


def _session_of(stat: Path) -> int | None:
    # proc(5): the command's name, in parentheses, may hold anything; the session is 4th after it.
    with contextlib.suppress(OSError):
        return int(stat.read_text(errors="replace").rpartition(")")[2].split()[3])
    return None
