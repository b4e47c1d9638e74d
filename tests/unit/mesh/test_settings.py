"""Settings from the environment, and what becomes of wrong ones."""

import pytest
from pydantic import ValidationError

from mesh.settings import GatewaySettings, NodeSettings, load


def test_the_defaults_need_no_environment() -> None:
    """A node and a gateway of one machine find each other."""
    assert load(NodeSettings).grpc_port == 50051
    assert load(GatewaySettings).http_port == 8000


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name MESH_ and the field's."""
    monkeypatch.setenv("MESH_GRPC_PORT", "0")
    monkeypatch.setenv("MESH_DRAIN", "2.5")
    settings = load(NodeSettings)
    assert (settings.grpc_port, settings.drain) == (0, 2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESH_GRPC_PORT", "65536"),
        ("MESH_OPS_PORT", "http"),
        ("MESH_TIMEOUT_MAX", "nan"),
        ("MESH_DRAIN", "0"),
        ("MESH_DRAIN_DELAY", "-1"),
        ("MESH_THREADS", "-1"),
        ("MESH_MAX_QUEUE", "0"),
        ("MESH_ENGINE", "abacus"),
        ("MESH_DTYPE", "int3"),
        ("MESH_LOG_LEVEL", "loud"),
        ("MESH_MAX_TEXT_CHARS", "1e3x"),
    ],
)
def test_a_value_that_can_not_be_used_ends_the_process_naming_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the value, so that it can be found."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"{name}: .*{value}"):
        load(NodeSettings)


GRPC_NAMES = [
    "127.0.0.1:50051",
    "text-encoder:50051",
    "text_encoder.mesh.svc:50051",
    "[::1]:50051",
    "dns:text-encoder:50051",
    "dns:///text-encoder:50051",
    "dns://10.0.0.2/text-encoder:50051",
    "ipv4:10.0.0.1:50051",
    "ipv4:10.0.0.1:50051,10.0.0.2:50051",
    "ipv6:[::1]:50051,[fe80::1%25eth0]:50051",
    "unix:/run/text.sock",
    "unix:///run/text.sock",
    "unix-abstract:text",
]


@pytest.mark.parametrize("target", GRPC_NAMES)
def test_a_target_is_a_grpc_name(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in the forms that gRPC resolves."""
    monkeypatch.setenv("MESH_FUSION_TARGETS", target)
    assert load(GatewaySettings).fusion_targets == target


@pytest.mark.parametrize("url", ["redis://", "rediss://:word@cache:6379/0", "unix:///run/r.sock"])
def test_a_redis_url_is_of_a_scheme_that_the_client_knows(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS, without, or on this machine."""
    monkeypatch.setenv("MESH_REDIS_URL", url)
    assert load(GatewaySettings).redis_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESH_REDIS_URL", "foo"),
        ("MESH_REDIS_URL", "cache:6379"),
        ("MESH_REDIS_URL", "redis:cache"),
        ("MESH_REDIS_URL", "http://cache:6379"),
        ("MESH_REDIS_URL", "redis://cache:port"),
        ("MESH_TEXT_ENCODER_TARGETS", "text-encoder"),
        ("MESH_TEXT_ENCODER_TARGETS", ""),
        ("MESH_VISION_ENCODER_TARGETS", "a:1,b:2"),
        ("MESH_AUDIO_ENCODER_TARGETS", "dns:///a:1,b:2"),
        ("MESH_AUDIO_ENCODER_TARGETS", "ipv4:name:1"),
        ("MESH_FUSION_TARGETS", "http://fusion:1"),
        ("MESH_FUSION_TARGETS", "fusion:65536"),
    ],
)
def test_an_address_that_would_fail_only_at_the_first_call_ends_the_process_at_its_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Naming the variable, too."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^{name}: .*{value}"):
        load(GatewaySettings)


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one a start."""
    monkeypatch.setenv("MESH_DRAIN", "x")
    monkeypatch.setenv("MESH_ENGINE", "x")
    with pytest.raises(SystemExit) as caught:
        load(NodeSettings)
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {
        "MESH_DRAIN",
        "MESH_ENGINE",
    }


def test_settings_can_not_be_changed() -> None:
    """They are read once."""
    with pytest.raises(ValidationError):
        load(NodeSettings).drain = 1.0  # type: ignore[misc]
