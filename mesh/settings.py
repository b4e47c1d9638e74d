"""Every setting of the mesh, read once from `MESH_*` in the environment, typed and immutable.

A value that can't be used ends the process at its start, with a message that names the variable.
"""

import os
import re
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBI = 1024 * 1024

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Delay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
LogLevel = Literal["debug", "info", "warning", "error"]

# gRPC takes any other text for a name, too, and asks DNS for it, at every call and in vain.
TARGET: Final = re.compile(
    r"""
    (dns:(//[^/,]*/)?)? ([\w.-]+ | \[[\w:.%]+\]) :\d+
    | ipv4: [\d.]+:\d+ (, [\d.]+:\d+)*
    | ipv6: \[[\w:.%]+\]:\d+ (, \[[\w:.%]+\]:\d+)*
    | unix(-abstract)?: [^,]+
    """,
    re.VERBOSE,
)


def _check_target(value: str) -> str:
    ports = [] if value.startswith("unix") else re.findall(r":(\d+)(?=,|$)", value)
    if not TARGET.fullmatch(value) or any(int(port) > 65535 for port in ports):
        raise ValueError("should be host:port, dns:, ipv4:, ipv6: or unix:; a list needs ipv4:")
    return value


def _check_redis_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("redis", "rediss", "unix") or "://" not in value:
        raise ValueError("should begin with redis://, rediss:// or unix://")
    _ = url.port  # Raises ValueError where it is none.
    return value


def _cache_folder() -> str:
    """Where this user's programs keep what they can make again; empty where there is no home."""
    home = os.path.expanduser("~")
    caches = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home != "~" else "")
    return f"{caches}/sensemesh" if caches else ""


Target = Annotated[str, AfterValidator(_check_target)]
RedisUrl = Annotated[str, AfterValidator(_check_redis_url)]


class InputLimits(BaseSettings):
    """The largest inputs that are taken. The gateway and the encoders read the same ones."""

    model_config = SettingsConfigDict(env_prefix="MESH_", frozen=True)

    max_text_chars: Count = 10_000
    max_image_bytes: Count = 20 * 1000 * 1000
    max_image_pixels: Count = 40 * 1000 * 1000
    max_audio_bytes: Count = 20 * 1000 * 1000
    max_audio_seconds: Seconds = 60.0


class ProcessSettings(InputLimits):
    """What every process of the mesh has."""

    host: str = "127.0.0.1"
    log_level: LogLevel = "info"
    max_body: Count = 64 * MEBI
    timeout_max: Seconds = 60.0
    drain_delay: Delay = 1.0


class NodeSettings(ProcessSettings):
    """What an encoder or fusion node has. Port 0 takes any free one."""

    grpc_port: Port = 50051
    ops_port: Port = 9090
    # A path, or for fusion a list of paths, preferred first, separated by commas.
    model: str = "models/emotion6"
    engine: Literal["auto", "torch", "cuda_graphs", "openvino"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "int8_dynamic"] = "auto"
    # A folder where engines keep what takes long to make; empty: nowhere.
    engine_cache: str = Field(default_factory=_cache_folder)
    # Separated by commas: "cpu", "cuda:0,cuda:1".
    devices: str = "cpu"
    # 0: all cores. `sensemesh up` divides the cores among the nodes that it starts.
    threads: Annotated[int, Field(ge=0)] = 0
    # Batches that each device computes at a time, each on its own `threads`. On a CPU there is one
    # at a time until full batches wait, or cores are found idle, time and again.
    workers: Count = 1
    drain: Seconds = 20.0
    # Items, and bytes of calls, that a node holds at a time; what comes on top is refused at once.
    max_queue: Count = 512
    max_in_flight_bytes: Count = 256 * MEBI
    max_batch: Count = 32
    # Of a batch: items times the largest, in tokens, pixels or seconds. 0: measured at the start.
    max_batch_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    # The same of what the model computes in one run. 0: measured at the start.
    micro_batch_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class GatewaySettings(ProcessSettings):
    """What the gateway has. Targets are gRPC names: `dns:///host:port` or `ipv4:addr:port,...`."""

    http_port: Port = 8000
    # They share the port, the limits of what is in flight, and Redis; each has its own memory.
    gateway_processes: Count = 1
    # Whether gateways ask each other, by Redis, who encodes an input; "auto" where one has several
    # processes. For several gateways behind one balancer it has to be said.
    encode_once: Literal["auto", "on", "off"] = "auto"
    text_encoder_targets: Target = "127.0.0.1:50051"
    vision_encoder_targets: Target = "127.0.0.1:50052"
    audio_encoder_targets: Target = "127.0.0.1:50053"
    fusion_targets: Target = "127.0.0.1:50054"
    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    timeout: Seconds = 10.0
    fusion_reserve: Delay = 0.05
    max_in_flight: Count = 64
    max_in_flight_bytes: Count = 256 * MEBI
    cache_ttl: Seconds = 86_400.0
    cache_lru_bytes: Annotated[int, Field(ge=0)] = 64 * MEBI


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """Read the settings of one process, or end it naming each variable that can't be used."""
    try:
        return kind()
    except ValidationError as error:
        raise SystemExit("\n".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem: ErrorDetails) -> str:
    name = "MESH_" + "_".join(str(part) for part in problem["loc"]).upper()
    return f"{name}: {problem['msg']} (got {problem['input']!r})"
