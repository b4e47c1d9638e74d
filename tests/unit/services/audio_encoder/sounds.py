"""One sound in each format that is taken, and a decoder of small bounds."""

from services.audio_encoder.decode import Decoder
from tests.media import sound, tone

decode = Decoder(max_bytes=4_000_000, max_seconds=10.0)

TONE = tone(0.5)
FILES = {
    f"{kind} {subtype}": sound(TONE, 16_000, kind, subtype)
    for kind, subtype in (
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_S8"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    )
}
