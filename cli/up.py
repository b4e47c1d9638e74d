"""`sensemesh up`: the whole mesh on this machine, serving until it is told to stop."""

import asyncio
import os
import tempfile
from pathlib import Path

import click

import cli
from cli import machine
from cli.topology import LOCALHOST, PORTS_NEEDED, Place, gateway_url, local_mesh

# Models and samples lie beside the packages.
ROOT = Path(cli.__file__).parents[1]
MODEL = "models/emotion6"


@click.command()
@click.option(
    "--model", default=MODEL, envvar="MESH_MODEL", show_default=True, help="A model's folder."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    envvar="MESH_HTTP_PORT",
    show_default=True,
    help="The gateway's port; 0 takes any free one.",
)
@click.option(
    "--logs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the processes' logs.  [default: a new one, which is named]",
)
@click.option("--sample/--no-sample", default=True, help="Classify a bundled sample once ready.")
@click.option(
    "--start-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds after which a mesh that isn't ready is given up.",
)
def up(model: str, port: int, logs: Path | None, sample: bool, start_timeout: float) -> None:
    """Start Redis, three encoders, fusion and the gateway, and serve until Ctrl-C.

    Every setting MESH_* of the environment is passed on. A Redis named by MESH_REDIS_URL, or a node
    named by its MESH_*_TARGETS, is used instead of starting one.
    """
    try:
        from cli.running import Plan, serve
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'sensemesh[node,local]'") from None
    host = os.environ.get("MESH_HOST") or LOCALHOST
    port = port or machine.free_ports(1)[0]
    machine.require_free(host, port)
    place = Place(
        model=_found(model),
        http_port=port,
        ports=machine.free_ports(PORTS_NEEDED),
        cores=machine.cores(),
        redis=None if os.environ.get("MESH_REDIS_URL") else machine.redis_binary(),
        environ=os.environ,
    )
    plan = Plan(
        processes=local_mesh(place),
        url=gateway_url(host, port),
        logs=_folder(logs),
        cwd=ROOT,
        samples=ROOT / "samples" if sample else None,
        start_timeout=start_timeout,
    )
    raise SystemExit(asyncio.run(serve(plan)))


def _found(model: str) -> str:
    """Each folder of the list, absolute: one of the working directory before one beside us."""
    return ",".join(str(_folder_of(name.strip())) for name in model.split(","))


def _folder_of(name: str) -> Path:
    candidates = [Path(name).absolute(), ROOT / name]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise click.ClickException(f"There is no model in {candidates[0]}.")


def _folder(logs: Path | None) -> Path:
    if logs is None:
        return Path(tempfile.mkdtemp(prefix="sensemesh-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    return logs.absolute()
