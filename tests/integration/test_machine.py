"""What a local mesh finds on this machine."""

import socket
import subprocess

import click
import pytest
from click.testing import CliRunner

from cli import machine
from cli.__main__ import main
from cli.machine import cores, free_ports, physical_cores, redis_binary, require_free


def test_free_ports_are_distinct() -> None:
    """And can be bound by whoever asked for them."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    require_free("127.0.0.1", ports[0])


def test_a_port_that_is_promised_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's, which it binds later than the nodes bind theirs."""
    promised, free = free_ports(2)
    monkeypatch.setattr(machine, "QUIET_PORTS", [promised, free])
    assert all(free_ports(1, promised=promised) == [free] for _ in range(10))


def test_a_port_in_use_is_named() -> None:
    """Also where its holder would share it, as gRPC servers and Granian do."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(click.ClickException, match=f"port {port} on 127.0.0.1"):
            require_free("127.0.0.1", port)
        with pytest.raises(click.ClickException, match=f"port {port} on 0.0.0.0"):
            require_free("0.0.0.0", port)


def test_a_host_that_is_not_ours_is_named() -> None:
    """TEST-NET-1 is nobody's (RFC 5737)."""
    with pytest.raises(click.ClickException, match=r"on 192\.0\.2\.1"):
        require_free("192.0.2.1", 0)


def test_up_starts_nothing_on_a_port_in_use() -> None:
    """The command ends with status 1 before it looks for a model or a Redis."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        result = CliRunner().invoke(main, ["up", "--port", str(port)])
    assert (result.exit_code, f"port {port}" in result.output) == (1, True)


def test_there_is_a_redis_to_start() -> None:
    """The system's, or the one that is installed with the project."""
    done = subprocess.run([redis_binary(), "--version"], capture_output=True, check=True, text=True)
    assert "server v=" in done.stdout


def test_without_a_system_redis_the_packaged_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs nothing on the PATH."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert redis_binary().endswith("/valkey-server")


def test_there_is_a_core() -> None:
    """At least the one that runs this."""
    assert cores() >= 1


def test_physical_cores_share_no_processor() -> None:
    """And have all that this process may use, where the system tells."""
    found = physical_cores()
    assert sum(map(len, found)) == len(frozenset().union(*found))
    assert not found or sum(map(len, found)) == cores()
