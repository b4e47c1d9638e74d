"""A mesh of fake processes under the real process manager, run as `sensemesh up` runs the real one.

python -m tests.integration.fake_mesh LOGS HOW
    HOW is what its node does: serve, ignore or die, as in fake_process.py
"""

import asyncio
import sys
from pathlib import Path

from cli.machine import free_ports
from cli.running import Plan, serve
from cli.topology import Process

FAKE = Path(__file__).with_name("fake_process.py")
# Everything that has a meaning to a shell, to supervisor's configuration, or to its expansion.
WORD = "a b #c ;d 'e\" 50% %(here)s \\ é"


def fake(name: str, how: str, port: int, rank: int) -> Process:
    """One process of the mesh; the one of rank 2 is essential."""
    argv = (sys.executable, str(FAKE), how, str(port))
    url = f"http://127.0.0.1:{port}/readyz"
    return Process(name, argv, {"MESH_WORD": WORD}, url, rank, essential=rank == 2)


def plan(logs: Path, how: str) -> Plan:
    """One of each rank, of which the node does as told."""
    store, node, front = free_ports(3)
    processes = [
        fake("store", "serve", store, 0),
        fake("node", how, node, 1),
        fake("front", "serve", front, 2),
    ]
    return Plan(processes, f"http://127.0.0.1:{front}", logs, logs, None, start_timeout=60)


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(plan(Path(sys.argv[1]), sys.argv[2]))))
