"""The networks that turn token ids into an embedding, by the name that an artifact gives."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from services.text_encoder.bert import BertShape, MeanPooledBert, read_bert
from services.text_encoder.choices import Choices
from services.text_encoder.network import Network
from services.text_encoder.rnn import PooledRnn, RnnShape, read_rnn


class Architecture(NamedTuple):
    """How to build one kind of network from the config's `model`, and to read its base weights."""

    build: Callable[[Mapping[str, Any]], Network]
    read: Callable[[Path], dict[str, torch.Tensor]]


# A gpt stands on transformers, whose import takes a node three seconds of a core: only its own.


def _build_gpt(model: Mapping[str, Any]) -> Network:
    from services.text_encoder.gpt import GptShape, PooledGpt

    return PooledGpt(GptShape(**model))


def _read_gpt(file: Path) -> dict[str, torch.Tensor]:
    from services.text_encoder.gpt import read_gpt

    return read_gpt(file)


ARCHITECTURES: Final = Choices(
    "architecture",
    bert=Architecture(lambda model: MeanPooledBert(BertShape(**model)), read_bert),
    gpt=Architecture(_build_gpt, _read_gpt),
    rnn=Architecture(lambda model: PooledRnn(RnnShape(**model)), read_rnn),
)
