"""From text to token ids."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from mesh.errors import InvalidInput, TooLarge
from services.text_encoder.preprocess import TextConfig, TextPreprocessor, collate
from tests.encoder_artifacts import WORDS, write_tokenizer

CLS, SEP, HAPPY, UNKNOWN = (WORDS.index(word) for word in ("[CLS]", "[SEP]", "happy", "[UNK]"))


@pytest.fixture
def preprocess(tmp_path: Path) -> TextPreprocessor:
    """A preprocessor of texts to 100 characters and 8 tokens."""
    return TextPreprocessor(TextConfig(max_tokens=8), write_tokenizer(tmp_path / "t.json"), 100)


@pytest.fixture
def bare(tmp_path: Path) -> TextPreprocessor:
    """One of 4 tokens, whose tokenizer pads and cuts on the left, as some are published for GPTs.

    It has no special tokens, and none for a letter that it does not know.
    """
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "c": 2, "d": 3, "e": 7}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(direction="left", length=9)
    tokenizer.enable_truncation(9, direction="left")
    tokenizer.save(str(tmp_path / "bare.json"))
    return TextPreprocessor(TextConfig(max_tokens=4), tmp_path / "bare.json", 100)


def test_a_text_becomes_its_tokens(preprocess: TextPreprocessor) -> None:
    """The ids are those of the text alone, between the special tokens, without padding."""
    item = preprocess("Happy")

    assert item.ids.tolist() == [CLS, HAPPY, SEP]
    assert (item.size, item.truncated) == (3, False)


def test_bytes_are_read_as_utf8(preprocess: TextPreprocessor) -> None:
    """A text may come as the bytes of a file."""
    assert preprocess("café".encode()).ids.tolist() == preprocess("café").ids.tolist()


def test_composed_and_decomposed_letters_are_the_same(preprocess: TextPreprocessor) -> None:
    """Text is normalised to NFC before anything else sees it."""
    assert preprocess("cafe\u0301").ids.tolist() == preprocess("caf\u00e9").ids.tolist()


def test_a_text_of_just_the_token_limit_is_whole(preprocess: TextPreprocessor) -> None:
    """Special tokens count, and the limit itself is allowed."""
    item = preprocess("happy " * 6)

    assert (item.size, item.truncated) == (8, False)


def test_a_text_over_the_token_limit_is_cut_and_says_so(preprocess: TextPreprocessor) -> None:
    """What the model can't take is cut off, and the special token at the end is kept."""
    item = preprocess("happy " * 7)

    assert (item.size, item.truncated) == (8, True)
    assert item.ids[-1] == SEP


def test_it_says_what_tokens_it_gives(preprocess: TextPreprocessor, bare: TextPreprocessor) -> None:
    """How many at most, and which ids they are below."""
    assert (preprocess.max_tokens, preprocess.vocabulary) == (8, len(WORDS))
    assert (bare.max_tokens, bare.vocabulary) == (4, 8)


def test_a_text_is_cut_at_its_end_whatever_its_tokenizer_prefers(bare: TextPreprocessor) -> None:
    """And padded there: what is first in a text is first in the batch."""
    long, short = bare("abcde"), bare("ba")

    assert (long.ids.tolist(), long.truncated) == ([0, 1, 2, 3], True)
    assert (short.ids.tolist(), short.truncated) == ([1, 0], False)
    assert collate([long, short])["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_a_text_without_any_token_is_invalid(bare: TextPreprocessor) -> None:
    """No network has an embedding of nothing, and its batch would fail."""
    with pytest.raises(InvalidInput, match="nothing that the model can read"):
        bare("xyz")


def test_a_text_of_just_the_character_limit_is_taken(preprocess: TextPreprocessor) -> None:
    """The limit itself is allowed."""
    assert preprocess("a" * 100).ids.tolist() == [CLS, UNKNOWN, SEP]


def test_a_longer_text_is_too_large(preprocess: TextPreprocessor) -> None:
    """One character more is refused."""
    with pytest.raises(TooLarge, match="101 characters"):
        preprocess("a" * 101)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000"])
def test_white_space_alone_is_invalid(preprocess: TextPreprocessor, text: str) -> None:
    """There is nothing to encode in it."""
    with pytest.raises(InvalidInput, match="white space"):
        preprocess(text)


@pytest.mark.parametrize("text", ["\ud800", "happy \udfff", b"\xff\xfe", b"caf\xe9"])
def test_what_is_not_unicode_is_invalid(preprocess: TextPreprocessor, text: str | bytes) -> None:
    """Lone surrogates and bytes that are no UTF-8 are the caller's fault."""
    with pytest.raises(InvalidInput, match="Unicode"):
        preprocess(text)


@pytest.mark.parametrize("text", ["\x00", "\u200b\u200d", "😀" * 50, "\U0010ffff", "‮abc"])
def test_any_other_unicode_is_taken(preprocess: TextPreprocessor, text: str) -> None:
    """Control characters, emoji and unassigned code points are text, too."""
    assert preprocess(text).size >= 2


def test_many_threads_get_what_one_gets(preprocess: TextPreprocessor) -> None:
    """Preprocessing holds no state."""
    texts = ["happy " * (1 + number % 6) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        sizes = [item.size for item in threads.map(preprocess, texts)]

    assert sizes == [preprocess(text).size for text in texts]


def test_a_batch_is_padded_to_its_longest_and_masked(preprocess: TextPreprocessor) -> None:
    """Padding holds zeros, and the mask tells it from tokens."""
    batch = collate([preprocess("happy"), preprocess("a glad sad happy")])

    assert batch["input_ids"].tolist()[0] == [CLS, HAPPY, SEP, 0, 0, 0]
    assert batch["attention_mask"].sum(1).tolist() == [3, 6]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
