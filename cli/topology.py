"""Which processes make a mesh on one machine: each one's command, settings and sign of readiness.

Pure: nothing here opens a port, reads the environment or starts anything.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

LOCALHOST: Final = "127.0.0.1"

# By modality, with their names on the network; `services.text_encoder` runs as text-encoder.
ENCODER_OF: Final = {"text": "text-encoder", "image": "vision-encoder", "audio": "audio-encoder"}
ENCODERS: Final = tuple(ENCODER_OF.values())
NODES: Final = (*ENCODERS, "fusion")
# Two for each node, one for Redis; a mesh of fewer encoders leaves some.
PORTS_NEEDED: Final = 2 * len(NODES) + 1


@dataclass(frozen=True, slots=True)
class Process:
    """One process: `env` is what it gets on top of its starter's environment.

    It is ready when `ready_url` answers: 200 to http, PONG to redis. Processes of a higher `rank`
    stand on those of a lower one, so they stop first. `essential`: nothing serves without it.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready_url: str
    rank: int
    essential: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What a local mesh may take of its machine.

    `model` is a folder, or several separated by commas; `encoders` has the encoders that these
    bring, each with the folder that it serves; `ports` are PORTS_NEEDED free ones; `redis` is a
    server's binary, None where MESH_REDIS_URL names one that runs already.
    """

    model: str
    encoders: Mapping[str, str]
    http_port: int
    ports: Sequence[int]
    cores: int = 1
    redis: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def local_mesh(place: Place) -> list[Process]:
    """Every process that has to be started, in the order to start them.

    The user's own `MESH_*` win: a Redis or a node whose address is set is used, not started.
    """
    ports = iter(place.ports)
    redis = [redis_server(place.redis, next(ports))] if place.redis else []
    nodes = _nodes(place, ports)
    targets = {node.name: node_target(node) for node in nodes}
    redis_url = redis[0].ready_url if redis else place.environ.get("MESH_REDIS_URL", "")
    front = gateway(place.http_port, targets, redis_url, _shared(place))
    return [*redis, *nodes, front]


def _nodes(place: Place, ports: Iterator[int]) -> list[Process]:
    # Fusion may hold heads for several versions of encoders; an encoder is of one.
    models = {**place.encoders, "fusion": place.model}
    started = [name for name in NODES if name in models and not has_target(name, place.environ)]
    settings = _shared(place) | _cores(place, len(started))
    return [
        node(name, next(ports), next(ports), settings | {"MESH_MODEL": models[name]})
        for name in started
    ]


def _cores(place: Place, nodes: int) -> dict[str, str]:
    """Each node's share, and so many workers that one takes all cores while others need none.

    One worker on other devices, whose batches would only be split.
    """
    threads = place.environ.get("MESH_THREADS") or str(max(1, place.cores // max(1, nodes)))
    # The node itself says what is wrong with a number that is none.
    taken = int(threads) if threads.isdecimal() else 0
    is_on_cpu = set((place.environ.get("MESH_DEVICES") or "cpu").split(",")) == {"cpu"}
    workers = max(1, place.cores // taken) if taken and is_on_cpu else 1
    asked = place.environ.get("MESH_WORKERS")
    return {"MESH_THREADS": threads, "MESH_WORKERS": asked or str(workers)}


def _shared(place: Place) -> dict[str, str]:
    # Nothing stands before a local gateway that would have to see it drain before it stops.
    return {"MESH_DRAIN_DELAY": place.environ.get("MESH_DRAIN_DELAY") or "0"} | (
        {"MESH_HOST": place.environ["MESH_HOST"]} if place.environ.get("MESH_HOST") else {}
    )


def node(name: str, grpc_port: int, ops_port: int, settings: Mapping[str, str]) -> Process:
    """An encoder or fusion node. Other machines can't reach it, whatever the gateway's host is."""
    env = {**settings, "MESH_HOST": LOCALHOST}
    env |= {"MESH_GRPC_PORT": str(grpc_port), "MESH_OPS_PORT": str(ops_port)}
    argv = (sys.executable, "-m", f"services.{name.replace('-', '_')}")
    return Process(name, argv, env, f"http://{LOCALHOST}:{ops_port}/readyz", rank=1)


def gateway(
    port: int, targets: Mapping[str, str], redis_url: str, settings: Mapping[str, str]
) -> Process:
    """The gateway, before the nodes whose gRPC names `targets` gives by node name."""
    env = {**settings, "MESH_HTTP_PORT": str(port), "MESH_REDIS_URL": redis_url}
    env |= {targets_variable(name): target for name, target in targets.items()}
    ready_url = gateway_url(settings.get("MESH_HOST", LOCALHOST), port) + "/readyz"
    argv = (sys.executable, "-m", "gateway")
    return Process("gateway", argv, env, ready_url, rank=2, essential=True)


def redis_server(binary: str, port: int) -> Process:
    """A Redis or Valkey server that is only a cache: in memory, bounded, never written to disk."""
    options = {
        "port": str(port),
        "bind": LOCALHOST,
        "save": "",
        "appendonly": "no",
        "maxmemory": "256mb",
        "maxmemory-policy": "allkeys-lru",
    }
    argv = [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Process("redis", argv, {}, f"redis://{LOCALHOST}:{port}/0", rank=0)


def targets_variable(name: str) -> str:
    """The gateway's setting that says where a node is: MESH_TEXT_ENCODER_TARGETS."""
    return f"MESH_{name.upper().replace('-', '_')}_TARGETS"


def has_target(name: str, environ: Mapping[str, str]) -> bool:
    """Whether the user's settings say where a node is; then it is used, not started."""
    return bool(environ.get(targets_variable(name)))


def node_target(process: Process) -> str:
    """The gRPC name under which the gateway finds a local node."""
    return f"ipv4:{LOCALHOST}:{process.env['MESH_GRPC_PORT']}"


def gateway_url(host: str, port: int) -> str:
    """Where a gateway that binds `host` is reached from this machine."""
    if host in ("", "0.0.0.0", "::"):
        host = LOCALHOST
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
