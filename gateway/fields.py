"""The fields of `POST /predict`: text, image and audio, each at most once."""

from collections.abc import Container
from typing import Final

from mesh.embedding import Modality
from mesh.errors import MalformedInput

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


def shown(name: str) -> str:
    """A name that the caller made up, fit for an answer."""
    return name[:SHOWN].encode(errors="replace").decode()
