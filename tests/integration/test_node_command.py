"""A node's command: what it measures in a process of its own, and what it serves with then."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests import fake_artifacts
from tests.running_node import NodeProcess, module_process


def command(
    folder: Path, argument: str | None = None, **env: str
) -> AbstractAsyncContextManager[NodeProcess]:
    """With an engine cache of its own."""
    settings = {"MESH_ENGINE_CACHE": str(folder / "cache")} | env
    return module_process("tests.fake_command", argument, folder, **settings)


async def test_a_first_start_measures_in_another_process(tmp_path: Path) -> None:
    """Once; the node then takes what was found, as every later start does."""
    fake_artifacts.write_encoder(tmp_path / "text")
    for whys in (["measured", "kept"], ["kept"]):
        async with command(tmp_path) as node:
            await node.until("ready")
            assert [line["why"] for line in node.logged("engine_chosen")] == whys
            assert {line["service"] for line in node.logs} == {"fake-command"}


async def test_the_cache_can_be_filled_ahead_of_a_start(tmp_path: Path) -> None:
    """By `measure`, which serves nothing."""
    fake_artifacts.write_encoder(tmp_path / "text")
    async with command(tmp_path, "measure") as measuring:
        assert await measuring.end() == 0
        assert measuring.logged("engine_chosen")
        assert not measuring.logged("ready")
    async with command(tmp_path) as node:
        await node.until("ready")
        assert [line["why"] for line in node.logged("engine_chosen")] == ["kept"]


async def test_what_can_not_be_measured_is_the_nodes_own_failure(tmp_path: Path) -> None:
    """With its own reason, and its own exit code."""
    fake_artifacts.write_encoder(tmp_path / "text", right=False)
    async with command(tmp_path) as node:
        failed = await node.until("failed")
        assert "golden outputs" in failed["reason"]
        assert node.logged("not_measured")[0]["reason"] == failed["reason"]
        assert node.logged("not_measured_apart")[0]["reason"] == "exit code 1"
        assert await node.end() == 1


async def test_without_a_cache_the_node_measures_itself(tmp_path: Path) -> None:
    """Nobody else could tell it."""
    fake_artifacts.write_encoder(tmp_path / "text")
    async with command(tmp_path, MESH_ENGINE_CACHE="") as node:
        await node.until("ready")
        assert [line["why"] for line in node.logged("engine_chosen")] == ["measured"]


async def test_with_a_cache_that_keeps_nothing_it_does_so_at_once(tmp_path: Path) -> None:
    """Another process would do it in vain."""
    fake_artifacts.write_encoder(tmp_path / "text")
    (tmp_path / "file").touch()
    async with command(tmp_path, MESH_ENGINE_CACHE=str(tmp_path / "file/cache")) as node:
        await node.until("ready")
        assert [line["why"] for line in node.logged("engine_chosen")] == ["measured"]


async def test_another_argument_is_refused(tmp_path: Path) -> None:
    """The command says what there is."""
    async with command(tmp_path, "serve") as node:
        assert await node.end() == 1
