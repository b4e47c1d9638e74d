"""A node's gRPC server and its sockets: every server option in one place, with its reason."""

import socket
from typing import Final, Protocol

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mesh.channels import message_options
from mesh.errors import MeshError
from mesh.settings import NodeSettings
from mesh.statuses import StatusInterceptor

MAX_CONNECTION_AGE_MS: Final = 30_000
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class PortTaken(MeshError):
    """Another process listens on the port. The node must not start."""


class GrpcService(Protocol):
    """One gRPC service that a node offers."""

    @property
    def grpc_name(self) -> str:
        """Its full name, such as "mesh.v1.Encoder"."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add its methods to a server."""


class GrpcServer:
    """Serves one service, with grpc.health.v1 and reflection beside it. Made on the loop."""

    def __init__(self, settings: NodeSettings, service: GrpcService) -> None:
        self._settings = settings
        self._names = ("", service.grpc_name)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[StatusInterceptor()],
            options=_options(settings),
            # Calls in flight are bounded by the places for items; this bounds what holds none.
            maximum_concurrent_rpcs=2 * settings.max_queue + 256,
        )
        service.register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (service.grpc_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Listen and report SERVING; the real port. PortTaken where another process has it."""
        await self._report(NOT_SERVING)
        port = self._bind()
        await self._server.start()
        await self._report(SERVING)
        return port

    async def leave(self) -> None:
        """Report NOT_SERVING for good, but go on serving: watching clients go elsewhere."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, and wait up to `grace` seconds for those that are being served."""
        await self._server.stop(grace)

    async def _report(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in self._names:
            await self._health.set(name, status)

    def _bind(self) -> int:
        address = _join(self._settings.host, self._settings.grpc_port)
        try:
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise PortTaken(f"MESH_GRPC_PORT: can't listen on {address}") from error


def _options(settings: NodeSettings) -> list[tuple[str, int]]:
    longest_call_ms = int(1000 * settings.timeout_max)
    return [
        *message_options(settings.max_body),
        # Otherwise a second process on the port starts without an error and takes a share.
        ("grpc.so_reuseport", 0),
        # Clients resolve names again only when a connection closes: without an end to it, new
        # replicas would get nothing.
        ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", longest_call_ms + 5_000),
        # Clients ping every 5 s, also while idle, to notice a stopped peer.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ]


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; PortTaken where another process has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PortTaken(f"MESH_OPS_PORT: can't listen on {_join(host, port)}: {error}") from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
