"""Tiny text networks of every family, over WORDS, and texts for them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch

from services.text_encoder.model import ARCHITECTURES
from services.text_encoder.network import Network
from services.text_encoder.preprocess import TextItem, collate
from tests.encoder_artifacts import BERT, WORDS, seeded

GPT: Final = {"vocab_size": len(WORDS), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
RNN: Final = {"vocab_size": len(WORDS), "embedding_size": 12, "hidden_size": 8}
MODELS: Final[Mapping[str, Mapping[str, Any]]] = {"bert": BERT, "gpt": GPT, "rnn": RNN}

RAGGED: Final = ([2, 3], [2, 5, 4, 3], [2, 6, 7, 8, 9, 4, 3], [7])


def network(architecture: str, **settings: Any) -> Network:
    """A network of a family with pinned weights, in eval mode."""
    built = ARCHITECTURES[architecture].build({**MODELS[architecture], **settings})
    seeded(built)
    return built


def batch(*texts: list[int]) -> dict[str, torch.Tensor]:
    """The networks' inputs for texts of these token ids."""
    arrays = collate([TextItem(np.array(ids), truncated=False) for ids in texts])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def encode(built: Network, *texts: list[int]) -> torch.Tensor:
    """The embeddings of texts of these token ids, in one batch."""
    with torch.inference_mode():
        vectors: torch.Tensor = built(**batch(*texts))
    return vectors


def one_by_one(built: Network, *texts: list[int]) -> torch.Tensor:
    """The same, each text by itself."""
    return torch.cat([encode(built, text) for text in texts])
