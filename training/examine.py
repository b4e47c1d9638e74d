"""Looks at one row of a manifest by itself: can its files be read, and would serving take them?"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.errors import InputError
from mesh.settings import InputLimits
from training.manifest import FEATURES, Row, digest

Preprocess = Callable[[Raw], object]
UNREADABLE: Final = (InputError, OSError, ValueError)


@dataclass(frozen=True, order=True, slots=True)
class Defect:
    """What is wrong, on which line of the manifest and in which column: "" for the whole row.

    Line 0 is for what no row shows, as a class of which there is none.
    """

    line: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """A row's defects, and by column the digests of its contents and the lengths of its features.

    What can't be read has neither.
    """

    row: Row
    defects: list[Defect] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)

    def note(self, column: str, message: str) -> None:
        """Add a defect."""
        self.defects.append(Defect(self.row.line, column, message))


class Examiner:
    """Examines rows that hold these modalities. Safe to call from many threads."""

    def __init__(self, modalities: Iterable[Modality], limits: InputLimits) -> None:
        self._preprocess = {modality: _PREPROCESS[modality](limits) for modality in modalities}

    def __call__(self, row: Row) -> Examined:
        """Read and preprocess everything that the row names."""
        examined = Examined(row)
        for modality in row.inputs:
            try:
                raw = row.raw(modality)
                self._preprocess[modality](raw)
                examined.digests[modality] = digest(raw)
            except UNREADABLE as error:
                examined.note(modality, _reason(error))
        for modality, file in row.features.items():
            column = FEATURES[modality]
            try:
                data = file.read_bytes()
                examined.dims[column] = len(vector_of(data))
                examined.digests[column] = digest(data)
            except UNREADABLE as error:
                examined.note(column, _reason(error))
        return examined


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} can't be read: {error.strerror}"
    return error.message if isinstance(error, InputError) else str(error)


def vector_of(data: bytes) -> npt.NDArray[Any]:
    """The embedding that an `.npy` file holds, of shape (dim,).

    Raises ValueError where it is no vector of finite numbers.
    """
    try:
        vector: npt.NDArray[Any] = np.lib.format.read_array(BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"no .npy file of numbers: {error}") from error
    if vector.ndim != 1 or vector.dtype.kind not in "fiu":
        raise ValueError(f"an array of {vector.dtype} {vector.shape}, not a vector of numbers")
    if not len(vector) or not np.isfinite(vector).all():
        raise ValueError("the vector is empty, or holds what is not a finite number")
    return vector


def _texts(limits: InputLimits) -> Preprocess:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    from services.text_encoder.preprocess import TextConfig, TextPreprocessor

    # What is refused doesn't depend on the tokenizer, unless it knows nothing in a text: any does.
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        Tokenizer(WordLevel({"?": 0}, unk_token="?")).save(str(file))
        return TextPreprocessor(TextConfig(), file, limits.max_text_chars)


def _images(limits: InputLimits) -> Preprocess:
    from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor

    # What is refused doesn't depend on the size, so a small one does.
    config = ImageConfig(size=32)
    return ImagePreprocessor(config, limits.max_image_bytes, limits.max_image_pixels)


def _sounds(limits: InputLimits) -> Preprocess:
    from services.audio_encoder.decode import Decoder

    decode = Decoder(limits.max_audio_bytes, limits.max_audio_seconds)
    return lambda raw: decode(raw) if isinstance(raw, bytes) else None


_PREPROCESS: Final[dict[Modality, Callable[[InputLimits], Preprocess]]] = {
    Modality.TEXT: _texts,
    Modality.IMAGE: _images,
    Modality.AUDIO: _sounds,
}
