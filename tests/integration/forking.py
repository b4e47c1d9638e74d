"""A supervisord of its own with one package loaded ahead, until its log tells what is asked for.

python -m tests.integration.forking LOGS HOW UNTIL
    HOW is what the package does, as in loaded_ahead; UNTIL is a part of supervisor's log
"""

import asyncio
import sys
from pathlib import Path

from cli.supervision import supervised
from cli.topology import Process
from tests.integration.fake_mesh import WORD

PACKAGE = "tests.integration.loaded_ahead"


async def run(logs: Path, how: str, until: str) -> None:
    """Stop all once the log says so and the package has said something."""
    argv = (sys.executable, "-m", PACKAGE, how)
    process = Process("fake", argv, {"MESH_WORD": WORD}, "", rank=1, essential=True)
    async with asyncio.timeout(30), supervised([process], logs, Path.cwd(), asyncio.Event()):
        while until not in read(logs / "supervisor.log"):
            await asyncio.sleep(0.05)
        while not read(logs / "fake.log"):
            await asyncio.sleep(0.05)


def read(log: Path) -> str:
    """What a log says so far."""
    return log.read_text() if log.exists() else ""


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), *sys.argv[2:]))
