"""Flame graphs of the gateway and of the slowest encoder under load: `python -m benchmarks.flames`.

py-spy samples the processes of a mesh that has nothing cached, and of one that has everything.
Another checkout's mesh is drawn by naming its folder: so before and after can be compared.
"""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import click

from benchmarks.bench import CONNECTIONS
from benchmarks.bodies import EVERYTHING, MULTIPART, write_bodies
from benchmarks.inputs import ROOT
from benchmarks.load import Closed, Target, closed_loop, warm_up
from benchmarks.mesh_process import Mesh, mesh
from benchmarks.processes import BenchError, adopt_orphans

WORK: Final = ROOT / "run/bench"
# Of load before and after the samples are taken.
MARGIN: Final = 2
# Samples a second: enough to see what takes a hundredth.
RATE: Final = 100
# What is drawn of which process, by the share of inputs that are fresh.
DRAWN: Final = (("gateway", 1.0), ("audio-encoder", 1.0), ("gateway", 0.0))


@click.command()
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, help="Another checkout.")
@click.option("--seconds", default=10, show_default=True, help="How long each is sampled.")
@click.option("--into", type=click.Path(path_type=Path), default=ROOT / "docs/benchmarks")
def main(name: str, root: Path, seconds: int, into: Path) -> None:
    """Write flame graphs, each called NAME and what it is of."""
    adopt_orphans()
    into.mkdir(parents=True, exist_ok=True)
    with mesh(WORK / "logs/flames", root=root.absolute()) as ours:
        target = Target(ours.predict, write_bodies(WORK / "bodies", EVERYTHING, MULTIPART))
        for process, fresh in DRAWN:
            load = Closed(CONNECTIONS, seconds + 2 * MARGIN, fresh)
            warm_up(target, Closed(CONNECTIONS, MARGIN, fresh))
            file = into / f"flame-{name}-{process}-{'fresh' if fresh else 'cached'}.svg"
            _record_under(load, target, _argv(ours, process, file, seconds))
            # Which folder it was drawn in is nobody's business.
            file.write_text(file.read_text().replace(f"{ROOT}/", ""))
            click.echo(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def _argv(ours: Mesh, process: str, file: Path, seconds: int) -> list[str]:
    """py-spy's; the gateway's workers are children of the process that supervisor knows."""
    options = ["--duration", str(seconds), "--rate", str(RATE), "--function", "--nonblocking"]
    named = ["--pid", str(ours.pids()[process][0]), "--output", str(file)]
    return ["py-spy", "record", "--subprocesses", *options, *named]


def _record_under(load: Closed, target: Target, argv: list[str]) -> None:
    beside = threading.Thread(target=closed_loop, args=[target, load])
    beside.start()
    binary = Path(sys.executable).parent / argv[0]
    done = subprocess.run([str(binary), *argv[1:]], capture_output=True, text=True, check=False)
    beside.join()
    if done.returncode:
        raise BenchError(f"py-spy failed: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
