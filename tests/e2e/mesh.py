"""A whole mesh of real processes with the real default models, to be asked and to be hurt.

Nodes take seconds to start, so one set of them serves every test module of a run; each module has
its own Redis and its own gateways before them, which are quick to start, so that caches and
counters begin empty. Whatever a module did to the nodes is mended before the next one gets them.
"""

import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cli.machine import redis_binary
from cli.topology import LOCALHOST, NODES, Process, gateway, node, node_target, redis_server
from tests.e2e.member import Member, end_all, http
from tests.waiting import within

MODEL: Final = "models/emotion6"
REPLICAS: Final = 2
# The gateway asks every two seconds what there is.
NOTICE_WAIT: Final = 15.0
# Below the range that the kernel takes for outgoing connections: one of those must not sit on the
# port of a process that is down for a moment.
QUIET_PORTS: Final = range(20_000, 32_000)


def quiet_ports(count: int) -> list[int]:
    """Distinct ports that nothing listens on, and that no outgoing connection will take."""
    candidates = iter(random.sample(QUIET_PORTS, k=len(QUIET_PORTS)))
    return [next(port for port in candidates if _is_free(port)) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOCALHOST, port)) != 0


def replica_name(name: str, index: int) -> str:
    """text-encoder, then text-encoder-2 and so on."""
    return name if index == 0 else f"{name}-{index + 1}"


class Nodes:
    """Every node that tests may ask for, started when the first does."""

    def __init__(self, folder: Path) -> None:
        names = [(name, index) for name in NODES for index in range(REPLICAS)]
        ports = iter(quiet_ports(2 * len(names)))
        settings = {"MESH_MODEL": MODEL, "MESH_THREADS": "1"}
        self._original = {
            replica_name(name, index): node(name, next(ports), next(ports), settings)
            for name, index in names
        }
        self._members = {
            name: Member(process, folder / f"{name}.log")
            for name, process in self._original.items()
        }

    def require(self, replicas: int) -> dict[str, Member]:
        """The first `replicas` of every node, as they were made, running and ready."""
        names = [replica_name(name, index) for name in NODES for index in range(replicas)]
        wanted = {name: self._members[name] for name in names}
        changed = [m for name, m in wanted.items() if m.process is not self._original[name]]
        end_all(changed)
        for name, member in wanted.items():
            member.process = self._original[name]
            if member.alive:
                member.resume()
            member.start()
        for member in wanted.values():
            member.wait_ready()
        return wanted

    def close(self) -> None:
        """End them all."""
        end_all(self._members.values())


class Mesh:
    """Nodes, a Redis and gateways, by name: "text-encoder", "fusion-2", "redis", "gateway"."""

    def __init__(
        self,
        folder: Path,
        nodes: Mapping[str, Member],
        gateways: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are the gateways' own, on top of the defaults."""
        self._folder = folder
        redis_port, *ports = quiet_ports(1 + gateways)
        self._redis = redis_server(redis_binary(), redis_port)
        self._members = dict(nodes)
        self._targets = {name: _targets(name, nodes) for name in NODES}
        self._own = [self._join(self._redis)]
        for index, port in enumerate(ports):
            self.add_gateway(replica_name("gateway", index), settings, port=port)

    def add_gateway(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        targets: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> Member:
        """One more gateway, not started yet; `targets` replaces those of some nodes."""
        where = self._targets | dict(targets or {})
        port = port or quiet_ports(1)[0]
        process = gateway(port, where, self._redis.ready_url, settings or {})
        self._own.append(self._join(replace(process, name=name)))
        return self._own[-1]

    def _join(self, process: Process) -> Member:
        member = self._members[process.name] = Member(process, self._folder / f"{process.name}.log")
        return member

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __enter__(self) -> Self:
        try:
            for member in self._own:
                member.start()
            for member in self._own:
                member.wait_ready()
            self.wait_whole()
        except BaseException:
            end_all(reversed(self._own))
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end_all(reversed(self._own))

    @property
    def url(self) -> str:
        """Where the first gateway answers."""
        return self["gateway"].url

    def target(self, name: str) -> str:
        """The gRPC name of one node by itself."""
        return node_target(self[name].process)

    def names(self, kind: str) -> list[str]:
        """The replicas of a node or of the gateway."""
        return [name for name in self._members if name.removesuffix("-2") == kind]

    def states(self, gateway: str = "gateway") -> dict[str, str]:
        """What a gateway says of each encoder: ready, unreachable or wrong_version."""
        model = http.get(f"{self[gateway].url}/v1/model").json()
        return {modality: encoder["state"] for modality, encoder in model["encoders"].items()}

    def wait_whole(self) -> None:
        """Return once every gateway that runs says that each encoder is ready."""
        running = [name for name in self.names("gateway") if self[name].alive]
        within(
            NOTICE_WAIT,
            lambda: all(set(self.states(name).values()) == {"ready"} for name in running),
            lambda: f"the encoders are {[self.states(name) for name in running]}",
        )

    def total(self, names: Sequence[str], metric: str, **labels: str) -> float:
        """A counter's sum over several processes."""
        return sum(self[name].metrics().value(metric, **labels) for name in names)


def _targets(name: str, nodes: Mapping[str, Member]) -> str:
    replicas = [member for key, member in nodes.items() if key.removesuffix("-2") == name]
    addresses = [f"{LOCALHOST}:{one.process.env['MESH_GRPC_PORT']}" for one in replicas]
    return "ipv4:" + ",".join(addresses)
