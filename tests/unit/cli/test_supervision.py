"""The configuration that the process manager gets."""

import shlex
from configparser import RawConfigParser

import pytest

from cli.supervision import configuration
from cli.topology import Process

PROCESSES = [
    Process("redis", ("redis-server", "--save", ""), {}, "redis://127.0.0.1:1", rank=0),
    Process("text-encoder", ("python",), {"MESH_THREADS": "2"}, "http://127.0.0.1:2", rank=1),
    Process("fusion", ("python",), {}, "http://127.0.0.1:3", rank=1),
    Process("gateway", ("python",), {}, "http://127.0.0.1:4", rank=2, essential=True),
]


def parsed(processes: list[Process]) -> RawConfigParser:
    """The configuration, read by the rules of supervisor's own parser."""
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(configuration(processes))
    return parser


def test_processes_of_one_rank_stop_together_and_after_those_above() -> None:
    """Groups of a higher priority stop first."""
    config = parsed(PROCESSES)
    groups = [dict(config[f"group:rank{rank}"]) for rank in range(3)]
    assert [group["programs"] for group in groups] == ["redis", "text-encoder,fusion", "gateway"]
    assert [int(group["priority"]) for group in groups] == [0, 1, 2]


def test_all_but_the_essential_are_started_again() -> None:
    """The gateway's end is the mesh's, whether it died young or not."""
    config = parsed(PROCESSES)
    restarts = {p.name: config[f"program:{p.name}"]["autorestart"] for p in PROCESSES}
    assert restarts.pop("gateway") == "false"
    assert set(restarts.values()) == {"true"}
    assert config["program:gateway"]["startretries"] == "0"


def test_settings_stand_before_the_command() -> None:
    """Through env(1), which the process replaces, so that its pid is the command's."""
    command = parsed(PROCESSES)["program:text-encoder"]["command"]
    assert shlex.split(command) == ["env", "MESH_THREADS=2", "python"]


@pytest.mark.parametrize(
    "word",
    [
        "",
        "a b",
        "a #b",
        "a ;b",
        "100%",
        "%(here)s",
        "%(ENV_HOME)s",
        "'",
        '"',
        "\\",
        "$HOME",
        "é",
        "*",
    ],
)
def test_any_word_survives_the_configuration(word: str) -> None:
    """Comments, expansion and splitting leave every character as it was."""
    odd = Process("odd", ("echo", word, "end"), {}, "http://127.0.0.1:5", rank=1)
    expanded = parsed([odd])["program:odd"]["command"] % {"here": "wrong", "ENV_HOME": "wrong"}
    assert shlex.split(expanded) == ["env", "echo", word, "end"]
