"""What tells inputs apart: the SHA-256 of each one's canonical form, for keys of the cache."""

import hashlib
import unicodedata
from collections.abc import Mapping

from mesh.embedding import Modality

Digests = Mapping[Modality, str]


def digest_of(payload: str | bytes) -> str:
    """SHA-256 of the canonical input: NFC-normalised text as UTF-8, media bytes as they are."""
    if isinstance(payload, str):
        payload = unicodedata.normalize("NFC", payload).encode()
    return hashlib.sha256(payload).hexdigest()


def digests_of(inputs: Mapping[Modality, str | bytes]) -> Digests:
    """The digest of each input. 20 MB take some 20 ms, without the GIL but not without a thread."""
    return {modality: digest_of(payload) for modality, payload in inputs.items()}
