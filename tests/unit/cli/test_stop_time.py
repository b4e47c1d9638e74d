"""How long the process manager waits for a process that it stops."""

import pytest

from cli.stop_time import stop_seconds


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({}, 1 + 60),
        ({"MESH_DRAIN": "100", "MESH_DRAIN_DELAY": "7.5"}, 107.5),
        ({"MESH_TIMEOUT_MAX": "600", "MESH_DRAIN": ""}, 601),
    ],
)
def test_no_process_is_killed_before_its_own_settings_let_it_end(
    settings: dict[str, str], least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ten seconds later, which the gateway takes before it gives up its worker."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert stop_seconds() > least + 10


def test_a_setting_that_can_not_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than in the log of a process that never comes up."""
    monkeypatch.setenv("MESH_DRAIN", "soon")
    with pytest.raises(SystemExit, match=r"MESH_DRAIN: .*soon"):
        stop_seconds()
