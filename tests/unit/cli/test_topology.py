"""Which processes a local mesh has, and what each is told."""

from dataclasses import replace

import pytest

from cli.topology import (
    ENCODERS,
    PORTS_NEEDED,
    Place,
    Process,
    gateway_url,
    local_mesh,
    node_target,
    targets_variable,
)

PLACE = Place(
    model="/models/a,/models/b",
    encoders=dict.fromkeys(ENCODERS, "/models/a"),
    http_port=8000,
    ports=range(5001, 5001 + PORTS_NEEDED),
    cores=8,
    redis="/bin/redis-server",
)
NODES = ["text-encoder", "vision-encoder", "audio-encoder", "fusion"]


def mesh(**environ: str) -> dict[str, Process]:
    """PLACE's mesh by name, for a user with these variables."""
    redis = None if "MESH_REDIS_URL" in environ else PLACE.redis
    processes = local_mesh(replace(PLACE, environ=environ, redis=redis))
    return {process.name: process for process in processes}


def test_redis_starts_first_and_the_gateway_last() -> None:
    """The order of starting is the order of standing on each other."""
    processes = local_mesh(PLACE)
    assert [process.name for process in processes] == ["redis", *NODES, "gateway"]
    assert [process.rank for process in processes] == [0, 1, 1, 1, 1, 2]
    assert [process.essential for process in processes] == [False] * 5 + [True]


def test_every_process_has_ports_of_its_own() -> None:
    """None of the free ports is given out twice, and all are used."""
    processes = mesh()
    given = [processes["redis"].argv[2]]
    for name in NODES:
        env = processes[name].env
        given += [env["MESH_GRPC_PORT"], env["MESH_OPS_PORT"]]
    assert sorted(given) == [str(port) for port in PLACE.ports]


def test_the_gateway_is_told_where_all_others_are() -> None:
    """Targets are gRPC names of this machine, and Redis is the one that was started."""
    processes = mesh()
    env = processes["gateway"].env
    for name in NODES:
        target = f"ipv4:127.0.0.1:{processes[name].env['MESH_GRPC_PORT']}"
        assert env[targets_variable(name)] == target == node_target(processes[name])
    assert env["MESH_REDIS_URL"] == processes["redis"].ready_url
    assert env["MESH_HTTP_PORT"] == "8000"


def test_nodes_run_their_service() -> None:
    """The network's name is the Python package's, with underscores."""
    assert list(mesh()["vision-encoder"].argv[1:]) == ["-m", "services.vision_encoder"]
    assert list(mesh()["gateway"].argv[1:]) == ["-m", "gateway"]


def test_only_fusion_gets_the_whole_list_of_models() -> None:
    """An encoder serves one version; fusion may hold heads for several."""
    encoders = {**PLACE.encoders, "audio-encoder": "/models/b"}
    nodes = {node.name: node for node in local_mesh(replace(PLACE, encoders=encoders))}
    assert nodes["fusion"].env["MESH_MODEL"] == "/models/a,/models/b"
    assert nodes["text-encoder"].env["MESH_MODEL"] == "/models/a"
    assert nodes["audio-encoder"].env["MESH_MODEL"] == "/models/b"


def test_encoders_that_no_model_has_are_not_started() -> None:
    """The gateway is told of none, and the others share the cores."""
    processes = local_mesh(replace(PLACE, encoders={"vision-encoder": "/models/a"}))
    assert [process.name for process in processes] == [
        "redis",
        "vision-encoder",
        "fusion",
        "gateway",
    ]
    assert processes[1].env["MESH_THREADS"] == "4"
    told = {name for name in processes[-1].env if name.endswith("_TARGETS")}
    assert told == {"MESH_VISION_ENCODER_TARGETS", "MESH_FUSION_TARGETS"}


def test_cores_are_divided_among_nodes() -> None:
    """Four nodes on eight cores get two threads each, and on one core still one."""
    assert mesh()["fusion"].env["MESH_THREADS"] == "2"
    alone = local_mesh(replace(PLACE, cores=1))
    assert alone[1].env["MESH_THREADS"] == "1"


def test_a_gpu_has_one_worker() -> None:
    """Several would split its batches."""
    processes = mesh(MESH_DEVICES="cuda:0")
    assert processes["audio-encoder"].env["MESH_WORKERS"] == "1"


@pytest.mark.parametrize(
    ("threads", "workers"), [("", "4"), ("3", "2"), ("8", "1"), ("9", "1"), ("0", "1"), ("x", "1")]
)
def test_one_node_can_take_all_cores(threads: str, workers: str) -> None:
    """Eight of them, by as many workers as their threads leave room for."""
    assert mesh(MESH_THREADS=threads)["audio-encoder"].env["MESH_WORKERS"] == workers


def test_the_users_settings_win() -> None:
    """What a user has set in the environment is not overridden."""
    processes = mesh(MESH_THREADS="7", MESH_WORKERS="5", MESH_DRAIN_DELAY="3", MESH_HOST="0.0.0.0")
    assert processes["fusion"].env["MESH_THREADS"] == "7"
    assert processes["fusion"].env["MESH_WORKERS"] == "5"
    assert processes["gateway"].env["MESH_DRAIN_DELAY"] == "3"
    assert processes["gateway"].env["MESH_HOST"] == "0.0.0.0"


def test_nodes_stay_on_this_machine() -> None:
    """A gateway that is open to others does not open the nodes behind it."""
    assert mesh(MESH_HOST="0.0.0.0")["fusion"].env["MESH_HOST"] == "127.0.0.1"


def test_a_redis_of_the_users_own_is_used() -> None:
    """None is started then."""
    processes = mesh(MESH_REDIS_URL="redis://cache:6379/0")
    assert "redis" not in processes
    assert processes["gateway"].env["MESH_REDIS_URL"] == "redis://cache:6379/0"


def test_a_node_of_the_users_own_is_used() -> None:
    """It is not started, the gateway keeps its address, and the others share the cores."""
    processes = mesh(MESH_TEXT_ENCODER_TARGETS="dns:///gpu-box:50051")
    assert "text-encoder" not in processes
    assert "MESH_TEXT_ENCODER_TARGETS" not in processes["gateway"].env
    assert processes["fusion"].env["MESH_THREADS"] == "2"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://127.0.0.1:80"),
        ("box", "http://box:80"),
    ],
)
def test_a_gateway_is_reached_where_it_listens(host: str, url: str) -> None:
    """An address that means all interfaces is reached at this machine's own."""
    assert gateway_url(host, 80) == url
