"""`sensemesh up` for models that take fewer than three modalities: what it starts and sends."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import main
from cli.running import Plan
from tests.unit.cli.model_folders import write_model


class Up:
    """The command over a `serve` that only keeps the plan; `plan` is None where it came to none."""

    def __init__(self, patch: pytest.MonkeyPatch, logs: Path) -> None:
        self.plan: Plan | None = None
        self._logs = logs
        patch.setattr("cli.running.serve", self._keep)

    async def _keep(self, plan: Plan) -> int:
        self.plan = plan
        return 0

    def run(self, *models: Path, **environ: str) -> tuple[int, str]:
        """The exit status and everything that was printed, for a user with these variables."""
        names = ",".join(map(str, models))
        args = ["up", "--port", "0", "--model", names, "--logs", str(self._logs)]
        environ |= {"MESH_REDIS_URL": "redis://127.0.0.1:1/0"}
        result = CliRunner().invoke(main, args, env=environ)
        return result.exit_code, result.output

    def started(self) -> dict[str, str | None]:
        """The model of each process that was to be started, by its name."""
        assert self.plan is not None
        return {one.name: one.env.get("MESH_MODEL") for one in self.plan.processes}

    def sent(self) -> list[str] | None:
        """The modalities of the sample."""
        assert self.plan is not None
        return self.plan.sample and list(self.plan.sample.modalities)


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Up:
    """For a user who has told of no node."""
    for name in ("TEXT_ENCODER", "VISION_ENCODER", "AUDIO_ENCODER", "FUSION"):
        monkeypatch.delenv(f"MESH_{name}_TARGETS", raising=False)
    return Up(monkeypatch, tmp_path / "logs")


def test_only_the_encoders_of_the_model_are_started(up: Up, tmp_path: Path) -> None:
    """And the sample is of what they take."""
    model = write_model(tmp_path / "m", takes=["text", "image"], brings=["text", "image"])
    assert up.run(model) == (0, "")
    folder = str(model)
    assert up.started() == {
        "text-encoder": folder,
        "vision-encoder": folder,
        "fusion": folder,
        "gateway": None,
    }
    assert up.sent() == ["text", "image"]


def test_several_models_are_started_with_what_any_needs(up: Up, tmp_path: Path) -> None:
    """The sample is of the preferred one, so that a single head takes all of it."""
    new = write_model(tmp_path / "new", takes=["text"], brings=["text"])
    old = write_model(tmp_path / "old", takes=["text", "audio"], brings=["text", "audio"])
    up.run(new, old)
    assert up.started() == {
        "text-encoder": str(new),
        "audio-encoder": str(old),
        "fusion": f"{new},{old}",
        "gateway": None,
    }
    assert up.sent() == ["text"]


def test_an_encoder_that_no_model_brings_is_told_of(up: Up, tmp_path: Path) -> None:
    """It is the user's own to run: none is started, and the sample does without."""
    model = write_model(tmp_path / "m", takes=["text", "audio"], brings=["text"])
    status, said = up.run(model)
    assert (status, said.count("\n")) == (0, 1)
    assert "brings no audio-encoder: set MESH_AUDIO_ENCODER_TARGETS" in said
    assert set(up.started()) == {"text-encoder", "fusion", "gateway"}
    assert up.sent() == ["text"]


def test_an_encoder_of_the_users_own_is_used(up: Up, tmp_path: Path) -> None:
    """With nothing to say of it, and a share in the sample."""
    model = write_model(tmp_path / "m", takes=["text", "audio"], brings=["text"])
    assert up.run(model, MESH_AUDIO_ENCODER_TARGETS="gpu-box:50051") == (0, "")
    assert set(up.started()) == {"text-encoder", "fusion", "gateway"}
    assert up.sent() == ["text", "audio"]


def test_a_mesh_without_any_encoder_is_refused(up: Up, tmp_path: Path) -> None:
    """It would never be ready."""
    model = write_model(tmp_path / "m", takes=["audio"], brings=[])
    status, said = up.run(model)
    assert (status, up.plan) == (1, None)
    assert "no encoder to start" in said


def test_without_encoders_of_the_preferred_model_no_sample_is_sent(up: Up, tmp_path: Path) -> None:
    """Those of the other model would be asked in vain."""
    new = write_model(tmp_path / "new", takes=["audio"], brings=[])
    old = write_model(tmp_path / "old", takes=["text"], brings=["text"])
    up.run(new, old)
    assert up.sent() is None


def test_a_folder_that_holds_no_model_is_refused(up: Up, tmp_path: Path) -> None:
    """In one line that names the file, before anything starts."""
    status, said = up.run(tmp_path)
    file = tmp_path / "fusion" / "config.json"
    assert (status, up.plan) == (1, None)
    assert said == f"Error: {file} can't be read: No such file or directory.\n"
