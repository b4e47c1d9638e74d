"""An embedding, and its one way to and from the wire. Knows neither numpy nor torch.

The gateway carries embeddings from encoders to the cache and to fusion without looking inside,
so the numbers stay the bytes that the encoder sent.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mesh.errors import InvalidInput
from mesh.v1 import embedding_pb2 as pb

ITEM_BYTES: Final = {"float32": 4, "float16": 2}


class Modality(StrEnum):
    """What kind of input an encoder reads; the values are the fields of `POST /predict`."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector that `version` of a modality's encoder computed.

    `data` holds `dim` little-endian numbers of `dtype` ("float32" or "float16"). `truncated` says
    that the encoder cut the input at its own limit.
    """

    modality: Modality
    version: str
    dtype: str
    dim: int
    data: bytes
    truncated: bool = False

    def __post_init__(self) -> None:
        expected = self.dim * ITEM_BYTES.get(self.dtype, 0)
        if expected == 0 or len(self.data) != expected:
            raise InvalidInput(
                f"an embedding of {self.dim} x {self.dtype} can't have {len(self.data)} bytes"
            )


_MODALITY_TO_PB: Final[dict[Modality, pb.Modality]] = {
    modality: getattr(pb, f"MODALITY_{modality.name}") for modality in Modality
}
_DTYPE_TO_PB: Final[dict[str, pb.DType]] = {
    dtype: getattr(pb, f"D_TYPE_{dtype.upper()}") for dtype in ITEM_BYTES
}
_MODALITY_FROM_PB: Final = {value: modality for modality, value in _MODALITY_TO_PB.items()}
_DTYPE_FROM_PB: Final = {value: dtype for dtype, value in _DTYPE_TO_PB.items()}


def modality_to_pb(modality: Modality) -> pb.Modality:
    """The wire's name for a modality."""
    return _MODALITY_TO_PB[modality]


def modality_from_pb(value: pb.Modality) -> Modality:
    """Our name for the wire's modality; InvalidInput for one that is unknown here."""
    try:
        return _MODALITY_FROM_PB[value]
    except KeyError:
        raise InvalidInput(f"unknown modality {value}") from None


def write_embedding(embedding: Embedding, message: pb.Embedding) -> None:
    """The wire's form of an embedding, into a message or a part of one.

    A part that was made by itself would be serialised to be taken over.
    """
    message.modality = modality_to_pb(embedding.modality)
    message.version = embedding.version
    message.dtype = _DTYPE_TO_PB[embedding.dtype]
    message.dim = embedding.dim
    message.data = embedding.data
    message.truncated = embedding.truncated


def embedding_from_pb(message: pb.Embedding) -> Embedding:
    """Our form of an embedding; InvalidInput where its parts contradict each other."""
    return Embedding(
        modality=modality_from_pb(message.modality),
        version=message.version,
        dtype=_DTYPE_FROM_PB.get(message.dtype, "unknown"),
        dim=message.dim,
        data=message.data,
        truncated=message.truncated,
    )
