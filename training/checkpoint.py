"""Where a run stands, on disk: written whole or not at all, and read back by the same run only."""

import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from accelerate import Accelerator

LATEST: Final = "latest"
# Says whose checkpoints these are.
RUN: Final = "run"


@dataclass
class Progress:
    """How far a run is. `run` tells whether a checkpoint is of this run: config, data and seed.

    `loss` is the sum over the epoch's batches so far.
    """

    run: str
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    best: float = -1.0
    best_epoch: int = -1

    def state_dict(self) -> dict[str, Any]:
        """As accelerate keeps it."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])


@dataclass(frozen=True)
class Checkpoint:
    """Keeps model, optimiser, schedule, random state and progress in a folder."""

    folder: Path
    accelerator: Accelerator

    def save(self) -> None:
        """Replace the last checkpoint; one that was begun and never finished is not seen."""
        new, latest = self.folder / "new", self.folder / LATEST
        self.accelerator.save_state(str(new), safe_serialization=True)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            if latest.exists():
                shutil.rmtree(self.folder / "old", ignore_errors=True)
                latest.rename(self.folder / "old")
            new.rename(latest)
        self.accelerator.wait_for_everyone()

    def load(self, progress: Progress) -> bool:
        """Go on from the last checkpoint if there is one of this run; whether there was."""
        candidates = [self.folder / LATEST, self.folder / "old"]
        found = next((folder for folder in candidates if folder.is_dir()), None)
        mark = self.folder / RUN
        if found is None or not mark.exists() or mark.read_text(encoding="utf-8") != progress.run:
            return False
        self.accelerator.load_state(str(found))
        return True

    def begin(self, run: str) -> None:
        """Forget what another run left here, and mark the folder as this run's."""
        if self.accelerator.is_main_process:
            # The mark first, so that nobody takes up what is half deleted.
            (self.folder / RUN).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / RUN).write_text(run, encoding="utf-8")
        self.accelerator.wait_for_everyone()
