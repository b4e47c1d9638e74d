"""Digests: one for what means the same, another for everything else."""

import unicodedata

from gateway.digests import digest_of, digests_of
from tests.unit.gateway.fakes import IMAGE, TEXT


def test_text_is_digested_by_what_it_says() -> None:
    """Two Unicode forms of one text have one digest; another text has another."""
    composed, decomposed = (unicodedata.normalize(form, "Größe é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert digest_of(composed) == digest_of(decomposed)
    assert digest_of(composed) != digest_of("Grosse e")


def test_media_is_digested_as_it_is() -> None:
    """One byte more is another digest."""
    assert digest_of(b"a") != digest_of(b"a\0")


def test_each_input_has_its_own() -> None:
    """By modality, whatever their order."""
    digests = digests_of({IMAGE: b"png", TEXT: "hi"})
    assert digests == {TEXT: digest_of("hi"), IMAGE: digest_of(b"png")}
