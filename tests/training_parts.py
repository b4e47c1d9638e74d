"""What tests of training are made of: rows of texts, a tiny recipe, columns of vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mesh.embedding import Modality
from tests.encoder_artifacts import WORDS, write_tokenizer
from training.config import EncoderConfig, Fit
from training.joining import Column
from training.manifest import Row

RNN: Final = {"vocab_size": len(WORDS), "embedding_size": 12, "hidden_size": 8}


def rnn(folder: Path, **fit: Any) -> EncoderConfig:
    """A text encoder from scratch, whose tokenizer is written into the folder."""
    write_tokenizer(folder / "tokenizer.json")
    return EncoderConfig(
        architecture="rnn",
        model=RNN,
        preprocess={"max_tokens": 8},
        tokenizer="path:tokenizer.json",
        fit=Fit(**fit),
    )


def text_row(text: str, label: str = "glad", split: str = "train", line: int = 2) -> Row:
    """A row that holds a text alone."""
    return Row(line, label, split, "", {Modality.TEXT: text}, {})


def text_rows(count: int, split: str = "train") -> list[Row]:
    """So many texts of one to five words, glad and sad in turn."""
    words = [" ".join(["a", *["happy"] * (number % 5)]) for number in range(count)]
    return [
        text_row(text, ("glad", "sad")[number % 2], split, number + 2)
        for number, text in enumerate(words)
    ]


def column(
    labels: Sequence[int], places: Sequence[int] | None = None, vectors: npt.ArrayLike | None = None
) -> Column:
    """A column at these places, else at the first; unless given, a vector is its place plus 1."""
    at = np.arange(len(labels)) if places is None else np.array(places)
    found = at[:, None] + 1 if vectors is None else np.asarray(vectors)
    return Column(at, np.array(labels), at.astype(str), found.astype(np.float32))
