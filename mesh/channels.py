"""How one process of the mesh reaches another: every option of a gRPC client channel, in one place.

Each option answers a fact about gRPC that costs an outage when it is not known; the comments say
which. Balancing is over every address that a name resolves to, and only over those that report
SERVING by grpc.health.v1.
"""

import json
from typing import Final

import grpc.aio

from mesh.errors import (
    DeadlineExpired,
    MeshError,
    Overloaded,
    Unavailable,
    VersionMismatch,
)

# Room for what surrounds the largest body: field tags, ids, the other items of the call.
MESSAGE_SLACK: Final = 1024 * 1024

SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # Without this, round_robin goes on sending to an address that reports NOT_SERVING.
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {
            "name": [{"service": "mesh.v1.Encoder"}, {"service": "mesh.v1.Fusion"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # Every failure takes a token, every success gives a tenth back; below half none retries.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}


def target_of(targets: str) -> str:
    """The gRPC name for a setting: `host:port` is resolved by DNS, a name with a scheme stays."""
    known = ("dns:", "ipv4:", "ipv6:", "unix:")
    return targets if targets.startswith(known) else f"dns:///{targets}"


def message_options(max_body: int) -> list[tuple[str, int]]:
    """The message limits, for both sides: gRPC's own are 4 MB."""
    limit = max_body + MESSAGE_SLACK
    return [
        ("grpc.max_send_message_length", limit),
        ("grpc.max_receive_message_length", limit),
    ]


def open_channel(targets: str, max_body: int) -> grpc.aio.Channel:
    """A channel that balances over all of `targets`. Must be opened in the loop that uses it."""
    options: list[tuple[str, int | str]] = [
        *message_options(max_body),
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.enable_retries", 1),
        # A message over this (256 KiB unless set) is silently never retried.
        ("grpc.per_rpc_retry_buffer_size", max_body + MESSAGE_SLACK),
        # A peer that was away is found again within a second, not within half a minute.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # New replicas are seen as soon as a connection closes, not 30 s later.
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        # A peer that is stopped or cut off without a word leaves the balance after 7 s.
        ("grpc.keepalive_time_ms", 5000),
        ("grpc.keepalive_timeout_ms", 2000),
        ("grpc.http2.max_pings_without_data", 0),
        # Two channels to one target must not share a connection's fate.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(target_of(targets), options=options)


_ERRORS: Final[dict[grpc.StatusCode, type[MeshError]]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExpired,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.FAILED_PRECONDITION: VersionMismatch,
}


def error_of(error: grpc.aio.AioRpcError, service: str) -> MeshError:
    """Our error for a call that failed as a whole. The peer's address stays out of the message.

    INVALID_ARGUMENT is ours too: what a caller sent wrongly is refused item by item. So is a
    message over a limit, which gRPC reports as if the peer were overloaded.
    """
    too_large = "larger than max" in (error.details() or "")
    kind = MeshError if too_large else _ERRORS.get(error.code(), MeshError)
    return kind(f"{service} answered {error.code().name}")
