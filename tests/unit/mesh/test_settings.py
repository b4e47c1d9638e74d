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
