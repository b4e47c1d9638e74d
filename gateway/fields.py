"""The fields of `POST /predict`: text, image and audio, each at most once."""

from collections.abc import Container
from typing import Final

from mesh.embedding import Modality
from mesh.errors import MalformedInput, TooLarge
from mesh.settings import InputLimits

KNOWN: Final = {modality.value: modality for modality in Modality}
# Of a name that is not ours an answer shows no more than this.
SHOWN: Final = 100


def modality_of(name: str, seen: Container[Modality]) -> Modality:
    """The modality that a field carries; MalformedInput for an unknown or repeated one."""
    modality = KNOWN.get(name)
    if modality is None:
        raise MalformedInput(f"unknown field; there are {', '.join(KNOWN)}", shown(name))
    if modality in seen:
        raise MalformedInput(f"the field {modality} was sent twice", modality)
    return modality


def check_text_bytes(size: int, widest: int, limits: InputLimits) -> None:
    """TooLarge where a text of `size` bytes is over its limit whatever they say.

    `widest` is the most bytes that one character takes. Called before the text is decoded, which
    can take four times its memory; the exact limit is looked at afterwards.
    """
    if size > widest * limits.max_text_chars:
        raise TooLarge(f"text may have {limits.max_text_chars} characters", Modality.TEXT)


def shown(name: str) -> str:
    """A name that the caller made up, fit for an answer."""
    return name[:SHOWN].encode(errors="replace").decode()
