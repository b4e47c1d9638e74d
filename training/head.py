"""Training of one fusion head on drawn examples, and its calibration."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional

from mesh.embedding import Modality
from services.fusion.auxiliary import AuxiliaryHeads
from services.fusion.frame import Fusion
from services.fusion.model import FUSIONS
from training.config import ConfigError, FusionConfig
from training.golden import subsets
from training.joining import Array
from training.pool import Columns, Examples, Pool
from training.task import OPTIMIZERS

LEAST_DEVIATION: Final = 1e-6
# Of the mean over a modality's dimensions.
LEAST_SHARE: Final = 0.01
TEMPERATURES: Final = torch.logspace(-1, 1, 201)
# How often in a run the head is tried on dev.
LOOKS: Final = 10

Tried = Mapping[tuple[Modality, ...], Examples]


def built(config: FusionConfig, dims: Sequence[int], classes: int) -> Fusion:
    """A head with random weights; ConfigError where the config's `model` doesn't fit."""
    try:
        return FUSIONS[config.strategy]({"dims": dims, "classes": classes, **config.model})
    except Exception as error:  # Libraries raise all kinds of things of numbers they can't use.
        raise ConfigError(f"fusion.model: {error}") from error


def new_head(config: FusionConfig, columns: Columns, classes: int) -> Fusion:
    """An untrained head that standardises by the columns' means and deviations; raises as built."""
    head = built(config, [column.vectors.shape[1] for column in columns.values()], classes)
    vectors = [column.vectors for column in columns.values()]
    head.mean.copy_(torch.from_numpy(np.concatenate([part.mean(0) for part in vectors])))
    deviation = np.concatenate([_deviation(part) for part in vectors])
    head.deviation.copy_(torch.from_numpy(deviation))
    return head


def _deviation(vectors: Array) -> Array:
    """Of each dimension; of one that hardly varies, what keeps small changes of it small.

    Else the rounding of its stored mean would outweigh all that the others say.
    """
    deviation: Array = vectors.std(0)
    return np.maximum(deviation, max(LEAST_SHARE * deviation.mean(), LEAST_DEVIATION))


def train_head(
    config: FusionConfig, pool: Pool, dev: Tried, seed: int, known: Pool | None = None
) -> Fusion:
    """A trained and calibrated head: of LOOKS looks at dev the one with the best macro-F1.

    With nothing in `dev` it is the last one, and not calibrated. `known` is what it learns from in
    the first `known_steps`, where that is not `pool`; the looks come after them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = new_head(config, pool.columns, pool.classes)
    set_priors(head, pool, config.natural)
    auxiliary = AuxiliaryHeads(head.shape)
    optimizer = OPTIMIZERS[config.optimizer](
        [*head.parameters(), *auxiliary.parameters()],
        config.learning_rate,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    best, weights, pause = -1.0, head.state_dict(), max(1, config.steps // LOOKS)
    for step in range(1, config.steps + 1):
        source = known if known and step <= config.known_steps else pool
        loss = loss_of(head.train(), auxiliary, source.draw(config.batch_size, rng), config, rng)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        is_look = dev and step > config.known_steps and step % pause == 0
        if is_look and (score := macro_f1(head, dev)) > best:
            best, weights = score, copy.deepcopy(head.state_dict())
    head.load_state_dict(weights)
    _round(head)
    calibrate(head, dev)
    return head.eval()


def loss_of(
    head: Fusion,
    auxiliary: AuxiliaryHeads,
    examples: Examples,
    config: FusionConfig,
    rng: np.random.Generator,
) -> torch.Tensor:
    """The cross-entropy of what is left after modality dropout, and of each modality by itself."""
    present = thinned(examples.present, config.modality_dropout, rng)
    projected = head.projected(examples.embeddings)
    fused = functional.cross_entropy(
        head.combined(projected, present),
        examples.classes,
        label_smoothing=config.label_smoothing,
    )
    single = functional.cross_entropy(
        auxiliary(projected).transpose(1, 2),
        examples.classes[:, None].expand(-1, present.shape[1]),
        reduction="none",
    )
    own = (single * examples.present).sum() / examples.present.sum()
    return fused + config.auxiliary * own


def thinned(present: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """The mask without so large a share of the modalities; each example keeps one at least."""
    kept = present * torch.from_numpy(rng.random(present.shape) >= share).float()
    order = torch.from_numpy(rng.random(present.shape)).float() * present
    one = functional.one_hot(order.argmax(1), present.shape[1]).float()
    return torch.where(kept.any(1, keepdim=True), kept, one)


@torch.no_grad()
def macro_f1(head: Fusion, tried: Tried) -> float:
    """The mean over the subsets of modalities."""
    head.eval()
    scores = [
        f1_score(
            part.classes,
            head(part.embeddings, part.present).argmax(1),
            average="macro",
            zero_division=0,
        )
        for part in tried.values()
    ]
    return float(np.mean(scores))


@torch.no_grad()
def _round(head: nn.Module) -> None:
    """Take the weights as they will be stored: what is calibrated is what is served."""
    for weight in head.parameters():
        weight.copy_(weight.half())


@torch.no_grad()
def calibrate(head: Fusion, dev: Tried) -> None:
    """Give each subset the temperature of the least cross-entropy on dev (Guo et al. 2017)."""
    head.eval()
    for part in dev.values():
        logits = head.logits(part.embeddings, part.present)
        subset = head.subset_of(part.present[:1])
        losses = []
        for temperature in TEMPERATURES:
            head.temperature[subset] = temperature
            calibrated = head.calibrated(logits, part.present)
            losses.append(functional.cross_entropy(calibrated, part.classes))
        head.temperature[subset] = TEMPERATURES[torch.stack(losses).argmin()]


def set_priors(head: Fusion, pool: Pool, natural: float) -> None:
    """Let each subset expect the classes as often as they are met with it, so far as `natural`."""
    for subset in subsets(pool.columns):
        present = torch.tensor([[modality in subset for modality in pool.columns]])
        prior = natural * torch.from_numpy(pool.log_prior(subset))
        head.log_prior[head.subset_of(present)] = prior.float()


def shape_entries(head: Fusion) -> dict[str, Any]:
    """The head's shape as an artifact's `model` holds it; dims and classes stand elsewhere."""
    shape = {name: getattr(head.shape, name) for name in head.shape.__dataclass_fields__}
    return {name: value for name, value in shape.items() if name not in ("dims", "classes")}


def stored_weights(head: nn.Module) -> dict[str, np.ndarray]:
    """The head's weights in half precision; its statistics, of whatever scale, as they are."""
    learned = {name for name, _ in head.named_parameters()}
    return {
        name: (tensor.half() if name in learned else tensor).numpy()
        for name, tensor in head.state_dict().items()
    }
