"""From text to token ids: NFC, the model's own tokenizer, and a cut at its token limit."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mesh.errors import InvalidInput, TooLarge

# What preprocessing computes from an input; a change of that raises it, and needs new artifacts.
REVISION: Final = 1

# What a padded place holds. Any id would do: padding comes after the text, and the attention mask
# says where, so that no network looks at it.
PAD_ID: Final = 0


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How an artifact wants its text. `max_tokens` counts the special tokens too."""

    max_tokens: int = 256


@dataclass(frozen=True, slots=True)
class TextItem:
    """One text's token ids, int64 of shape (tokens,), special tokens included."""

    ids: npt.NDArray[np.int64]
    truncated: bool

    @property
    def size(self) -> float:
        """Its tokens."""
        return len(self.ids)


class TextPreprocessor:
    """Turns texts into TextItems. Safe to call from many threads.

    It gives `max_tokens` tokens at most, whose ids are below `vocabulary`.
    """

    def __init__(self, config: TextConfig, tokenizer: Path, max_chars: int) -> None:
        self.max_chars = max_chars
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()  # A batch is padded to its own longest text, in `collate`.
        self.tokenizer.enable_truncation(config.max_tokens)
        self.max_tokens = config.max_tokens
        self.vocabulary = 1 + max(self.tokenizer.get_vocab().values())

    def __call__(self, raw: str | bytes) -> TextItem:
        """Tokenize text, given as str or as UTF-8.

        Raises TooLarge over `max_chars` characters, InvalidInput for what is not Unicode text, for
        white space alone and where the tokenizer knows nothing in it.
        """
        text = _decode(raw)
        if len(text) > self.max_chars:
            raise TooLarge(f"the text has {len(text)} characters, more than {self.max_chars}")
        if not text.strip():
            raise InvalidInput("the text holds nothing but white space")
        encoding = self.tokenizer.encode(unicodedata.normalize("NFC", text))
        ids = np.array(encoding.ids, np.int64)
        if not len(ids):
            raise InvalidInput("the text holds nothing that the model can read")
        return TextItem(ids, truncated=bool(encoding.overflowing))


def _decode(raw: str | bytes) -> str:
    """`raw` as text that has a UTF-8 form: a str may hold lone surrogates, which have none."""
    try:
        return raw.decode() if isinstance(raw, bytes) else raw.encode().decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"the text is not valid Unicode: {error.reason}") from error


def collate(items: Sequence[TextItem], tokens: int = 0) -> dict[str, npt.NDArray[np.int64]]:
    """The model's inputs for a batch: ids and attention mask, int64 of shape (items, tokens).

    Padded to so many tokens, or to the longest text where that has more.
    """
    shape = len(items), max(tokens, *(len(item.ids) for item in items))
    ids, mask = np.full(shape, PAD_ID, np.int64), np.zeros(shape, np.int64)
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = item.ids
        mask[row, : len(item.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask}
