"""One training of an encoder, from wherever it stands to its end: the loop and what it keeps."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from rich.progress import track
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms import v2
from transformers import get_cosine_schedule_with_warmup

from training.batches import Batch, loader
from training.checkpoint import Checkpoint, Progress
from training.config import Fit
from training.errors import TrainingError
from training.golden import write_tensors
from training.task import Classifier, Task, class_weights, dev_score, optimizer_of
from training.weights import averaged, serving_weights, train_mode

Inputs = Mapping[str, torch.Tensor]

# How often the loss is logged.
LOG_BATCHES: Final = 10
# The weights of the best epoch so far.
BEST: Final = "best.safetensors"


def accelerator_of(fit: Fit) -> Accelerator:
    """Devices, processes and precision, as torchrun and the machine give them."""
    if fit.precision == "fp16" and not torch.cuda.is_available():
        raise TrainingError("fit.precision: fp16 needs a CUDA device; bf16 and fp32 don't")
    # One process trains several encoders, and accelerate would keep the first one's precision.
    AcceleratorState._reset_state()
    precision = "no" if fit.precision == "fp32" else fit.precision
    return Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())


class Run:
    """One training, from wherever it stands to its end."""

    def __init__(self, classifier: Classifier, task: Task, fit: Fit, state: Path) -> None:
        self.accelerator = accelerator_of(fit)
        self.task, self.fit, self.state = task, fit, state
        if fit.batch_size < self.accelerator.num_processes:
            raise TrainingError(f"fit.batch_size: {fit.batch_size} is less than the processes")
        self.updates = -(-len(task.plan) // fit.accumulate)
        optimizer = optimizer_of(classifier, fit)
        steps = fit.epochs * self.updates
        self.schedule = get_cosine_schedule_with_warmup(optimizer, int(fit.warmup * steps), steps)
        self.model, self.optimizer = self.accelerator.prepare(classifier, optimizer)
        classes = task.train.classes
        weight = class_weights(classes, len(task.train.labels), fit.class_balance)
        self.loss_of = nn.CrossEntropyLoss(weight, label_smoothing=fit.label_smoothing)
        self.loss_of.to(self.accelerator.device)
        # It draws from the generator that dropout draws from, which checkpoints keep.
        self.blend = v2.MixUp(alpha=fit.mixup, num_classes=len(weight)) if fit.mixup else None
        self.average = averaged(classifier, fit.average) if fit.average else None
        self.log: SummaryWriter | None = None
        if self.accelerator.is_main_process:
            self.log = SummaryWriter(str(state / "tensorboard"))
        self.unsaved = 0

    @property
    def judged(self) -> Classifier:
        """What dev judges and the artifact gets: the moving average where there is one."""
        if self.average:
            return cast(Classifier, self.average.module)
        return cast(Classifier, self.accelerator.unwrap_model(self.model))

    def to_the_end(self, run: str) -> float:
        """Train until the last epoch, or until dev gets no better; the best macro-F1 on dev."""
        progress = Progress(run)
        checkpoint = self._resumed(progress)
        for epoch in range(progress.epoch, self.fit.epochs):
            if epoch - progress.best_epoch > self.fit.patience and progress.best_epoch >= 0:
                break
            loss = self._epoch(epoch, progress, checkpoint)
            score = self._score()
            if score > progress.best:
                progress.best, progress.best_epoch = score, epoch
                self._keep_best()
            progress.epoch, progress.batch, progress.loss = epoch + 1, 0, 0.0
            checkpoint.save()
            self._say(f"epoch {epoch + 1}: loss {loss:.3f}, macro-F1 on dev {score:.4f}")
            self._log("dev/macro_f1", score, progress.epoch * len(self.task.plan))
        if self.log:
            self.log.close()
        return progress.best

    def _resumed(self, progress: Progress) -> Checkpoint:
        checkpoint = Checkpoint(self.state / "checkpoint", self.accelerator)
        self.accelerator.register_for_checkpointing(progress, self.schedule)
        if self.average:
            self.accelerator.register_for_checkpointing(self.average)
        if checkpoint.load(progress):
            self._say(f"goes on from epoch {progress.epoch + 1}, batch {progress.batch}")
        else:
            checkpoint.begin(progress.run)
        return checkpoint

    def _epoch(self, epoch: int, progress: Progress, checkpoint: Checkpoint) -> float:
        """Learn from what is left of an epoch's batches; the epoch's mean loss."""
        train_mode(self.model)
        batches = self.task.plan.epoch(epoch)
        for inputs, classes in self._shown(epoch, batches[progress.batch :]):
            progress.batch += 1
            is_update = progress.batch % self.fit.accumulate == 0 or progress.batch == len(batches)
            loss = self._learn(inputs, classes, is_update)
            progress.loss += loss
            if progress.batch % LOG_BATCHES == 0:
                step = epoch * len(batches) + progress.batch
                self._log("train/loss", loss, step)
                self._log("train/rate", self.schedule.get_last_lr()[0], step)
            self.unsaved += 1
            if is_update and self.unsaved >= self.fit.checkpoint_steps:
                self.unsaved = 0
                checkpoint.save()
        total = torch.tensor(progress.loss, device=self.accelerator.device)
        return float(self.accelerator.reduce(total, "mean")) / len(batches)

    def _shown(self, epoch: int, batches: Sequence[np.ndarray]) -> Iterator[Batch]:
        """This process's share of the batches, behind a progress bar."""
        accelerator, task = self.accelerator, self.task
        mine = [batch[accelerator.process_index :: accelerator.num_processes] for batch in batches]
        yield from track(
            loader(task.train, mine, epoch, task.collate, task.workers),
            f"epoch {epoch + 1} of {self.fit.epochs}",
            total=len(mine),
            disable=not accelerator.is_main_process,
        )

    def _learn(self, inputs: Inputs, classes: torch.Tensor, is_update: bool) -> float:
        accelerator = self.accelerator
        inputs = {name: tensor.to(accelerator.device) for name, tensor in inputs.items()}
        classes = classes.to(accelerator.device)
        if self.blend:
            inputs["pixels"], classes = self.blend(inputs["pixels"], classes)
        with nullcontext() if is_update else accelerator.no_sync(self.model):
            loss = self.loss_of(self.model(**inputs), classes)
            accelerator.backward(loss / self.fit.accumulate)
        if is_update:
            accelerator.clip_grad_norm_(self.model.parameters(), self.fit.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            if self.average:
                self.average.update_parameters(accelerator.unwrap_model(self.model))
        return float(loss.detach())

    def _score(self) -> float:
        """The macro-F1 on dev, computed by one process for all."""
        scores = [0.0]
        if self.accelerator.is_main_process:
            scores = [dev_score(self.judged, self.task, self.accelerator.device)]
        broadcast_object_list(scores)
        return scores[0]

    def _keep_best(self) -> None:
        if self.accelerator.is_main_process:
            weights = serving_weights(self.judged.network)
            write_tensors(self.state / BEST, {n: w.cpu().numpy() for n, w in weights.items()})

    def _log(self, name: str, value: float, step: int) -> None:
        if self.log:
            self.log.add_scalar(name, value, step)

    def _say(self, line: str) -> None:
        if self.accelerator.is_main_process:
            print(line, flush=True)
