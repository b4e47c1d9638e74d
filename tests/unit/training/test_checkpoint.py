"""Where a run stands, on disk: what is seen of it after a crash."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from training.checkpoint import Checkpoint, Progress


@dataclass
class Process:
    """A process that trains one weight, and what it keeps of that."""

    checkpoint: Checkpoint
    model: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress

    @classmethod
    def start(cls, folder: Path, run: str = "one") -> Self:
        """With a weight of 0."""
        accelerator = Accelerator(cpu=True)
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), 1.0, momentum=0.5)
        model, optimizer = accelerator.prepare(model, optimizer)
        progress = Progress(run)
        accelerator.register_for_checkpointing(progress)
        return cls(Checkpoint(folder, accelerator), model, optimizer, progress)

    def begin(self) -> Self:
        """Mark the folder as this run's."""
        self.checkpoint.begin(self.progress.run)
        return self

    def step(self) -> None:
        """Make the weight larger, by momentum ever faster."""
        self.optimizer.zero_grad()
        self.model(-torch.ones(1, 1)).sum().backward()
        self.optimizer.step()
        self.progress.batch += 1

    def load(self) -> bool:
        """Go on from the last checkpoint, if there is one."""
        return self.checkpoint.load(self.progress)

    @property
    def weight(self) -> float:
        """The one that is trained."""
        return self.model.weight.item()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the checkpoints are."""
    return tmp_path / "checkpoint"


@pytest.fixture
def killed(folder: Path) -> Process:
    """A run that saved after each of two steps, and made another before it was killed."""
    process = Process.start(folder).begin()
    for _ in range(2):
        process.step()
        process.checkpoint.save()
    process.step()
    return process


def test_a_run_goes_on_from_its_last_checkpoint(folder: Path, killed: Process) -> None:
    """Model, optimiser and progress, so that the next step is the one that was lost."""
    process = Process.start(folder)

    assert process.load()
    assert (process.weight, process.progress.batch) == (2.5, 2)
    process.step()
    assert process.weight == killed.weight == 4.25


def test_random_numbers_go_on_too(folder: Path) -> None:
    """Dropout's are the same."""
    process = Process.start(folder).begin()
    process.checkpoint.save()
    expected = torch.rand(3)
    torch.manual_seed(99)

    process.load()

    assert torch.equal(torch.rand(3), expected)


def test_progress_is_kept_whole(folder: Path) -> None:
    """Every field of it."""
    process = Process.start(folder).begin()
    kept = Progress("one", epoch=3, batch=5, loss=0.5, best=0.75, best_epoch=2)
    process.progress.load_state_dict(kept.state_dict())
    process.checkpoint.save()

    again = Process.start(folder)
    again.load()

    assert again.progress == kept


def test_a_new_run_finds_nothing(folder: Path) -> None:
    """Neither before its folder is there nor after."""
    process = Process.start(folder)

    assert not process.load()
    assert not process.begin().load()


def test_another_runs_checkpoint_is_not_loaded(folder: Path, killed: Process) -> None:
    """Its config, data or seed are others; nothing of this one changes."""
    process = Process.start(folder, "two")

    assert not process.load()
    assert (process.weight, process.progress) == (0, Progress("two"))


def test_a_run_forgets_what_another_left(folder: Path, killed: Process) -> None:
    """The other one then begins anew, too."""
    Process.start(folder, "two").begin()

    assert not Process.start(folder, "one").load()
    assert [file.name for file in folder.iterdir()] == ["run"]


def test_a_checkpoint_that_is_half_deleted_is_not_loaded(folder: Path, killed: Process) -> None:
    """Whose it is goes first."""
    (folder / "run").unlink()

    assert not Process.start(folder).load()


def test_a_checkpoint_that_was_never_finished_is_not_seen(folder: Path, killed: Process) -> None:
    """The one before it counts, and the next one is written over it."""
    (folder / "new").mkdir()
    (folder / "new" / "model.safetensors").write_bytes(b"half of")

    process = Process.start(folder)
    assert process.load()
    assert process.weight == 2.5

    process.step()
    process.checkpoint.save()
    again = Process.start(folder)
    assert again.load()
    assert again.weight == 4.25


def test_only_an_unfinished_checkpoint_is_none(folder: Path) -> None:
    """The run begins anew."""
    process = Process.start(folder).begin()
    (folder / "new").mkdir()

    assert not process.load()


def test_a_run_killed_between_two_names_goes_on(folder: Path, killed: Process) -> None:
    """The last checkpoint was already "old", the next not yet "latest"."""
    (folder / "latest").rename(folder / "old-by-now")
    (folder / "old").rename(folder / "older")
    (folder / "old-by-now").rename(folder / "old")

    process = Process.start(folder)

    assert process.load()
    assert process.weight == 2.5


def test_a_run_killed_again_while_it_saves_still_goes_on(
    folder: Path, killed: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment one whole checkpoint has a name that is looked for."""

    def killing(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt(f"{self} to {target}")

    for name in ("latest", "old"):
        (folder / name).rename(folder.parent / name)
    (folder.parent / "latest").rename(folder / "old")
    process = Process.start(folder)
    process.load()
    monkeypatch.setattr(Path, "rename", killing)
    with pytest.raises(KeyboardInterrupt):
        process.checkpoint.save()

    again = Process.start(folder)

    assert again.load()
    assert again.weight == 2.5
