"""`sensemesh up`: the whole mesh on this machine, serving until it is told to stop."""

import asyncio
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import click

import cli
from cli import machine
from cli.model_parts import encoder_folders, modalities_of
from cli.sample import Sample
from cli.topology import (
    ENCODER_OF,
    LOCALHOST,
    PORTS_NEEDED,
    Place,
    gateway_url,
    has_target,
    local_mesh,
    targets_variable,
)

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
@click.option(
    "--home-cores/--no-home-cores",
    default=True,
    envvar="MESH_HOME_CORES",
    show_default=True,
    help="Keep encoders that compute on one thread, and all else together, each on one core.",
)
def up(
    model: str,
    port: int,
    logs: Path | None,
    sample: bool,
    start_timeout: float,
    home_cores: bool,
) -> None:
    """Start Redis, the model's encoders, fusion and the gateway, and serve until Ctrl-C.

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
    models = _found(model)
    encoders = _brought(models)
    place = Place(
        model=",".join(map(str, models)),
        encoders=encoders,
        http_port=port,
        ports=machine.free_ports(PORTS_NEEDED, promised=port),
        cores=machine.cores(),
        redis=None if os.environ.get("MESH_REDIS_URL") else machine.redis_binary(),
        environ=os.environ,
    )
    plan = Plan(
        processes=local_mesh(place),
        url=gateway_url(host, port),
        logs=_folder(logs),
        cwd=ROOT,
        sample=_sample(models[0], encoders) if sample else None,
        start_timeout=start_timeout,
        cores=machine.physical_cores() if home_cores else (),
    )
    raise SystemExit(asyncio.run(serve(plan)))


def _found(model: str) -> list[Path]:
    """Each folder of the list, absolute: one of the working directory before one beside us."""
    return [_folder_of(name.strip()) for name in model.split(",")]


def _folder_of(name: str) -> Path:
    candidates = [Path(name).absolute(), ROOT / name]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise click.ClickException(f"There is no model in {candidates[0]}.")


def _brought(models: Sequence[Path]) -> dict[str, str]:
    """The encoders that the models bring, with their folders; says which are the user's to run.

    ClickException where there is neither one to start nor one that runs already.
    """
    folders = {ENCODER_OF[m]: folder for m, folder in encoder_folders(models).items()}
    missing = [name for name, folder in folders.items() if not folder and not _runs(name)]
    for name in missing:
        variable = targets_variable(name)
        click.echo(f"The model brings no {name}: set {variable} to one of yours to use it.")
    if len(missing) == len(folders):
        raise click.ClickException("There is no encoder to start, and none that runs already.")
    return {name: str(folder) for name, folder in folders.items() if folder}


def _sample(model: Path, brought: Collection[str]) -> Sample | None:
    """What the preferred model takes of the sample, and for what there is an encoder."""
    encoders = {modality: ENCODER_OF[modality] for modality in modalities_of(model)}
    modalities = [m for m, name in encoders.items() if name in brought or _runs(name)]
    return Sample(ROOT / "samples", modalities) if modalities else None


def _runs(name: str) -> bool:
    return has_target(name, os.environ)


def _folder(logs: Path | None) -> Path:
    if logs is None:
        return Path(tempfile.mkdtemp(prefix="sensemesh-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    return logs.absolute()
