"""What tells inputs apart: the BLAKE3 hash of each one's canonical form, for keys of the cache.

It is as hard to forge as SHA-256 and takes a third of its time or less: of what a cached answer
costs, hashing would else be a tenth.
"""

import unicodedata
from collections.abc import Mapping

from blake3 import blake3

from mesh.embedding import Modality

Digests = Mapping[Modality, str]


def digest_of(payload: str | bytes) -> str:
    """Of the canonical input: NFC-normalised text as UTF-8, media bytes as they are."""
    if isinstance(payload, str):
        payload = unicodedata.normalize("NFC", payload).encode()
    return blake3(payload).hexdigest()


def digests_of(inputs: Mapping[Modality, str | bytes]) -> Digests:
    """The digest of each input. 20 MB take some 4 ms, without the GIL but not without a thread."""
    return {modality: digest_of(payload) for modality, payload in inputs.items()}
