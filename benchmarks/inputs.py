"""Real inputs, each unlike the others: speech, photographs and sentences, made of `samples/`.

The same number always gives the same inputs. Where `STAMP` stands in one, other words of its length
may stand: then it is another input, and computed anew.
"""

import io
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image, ImageEnhance, ImageOps

ROOT: Final = Path(__file__).parents[1]
SAMPLES: Final = ROOT / "samples"
RATE: Final = 16_000
VOICES: Final = ("voice.wav", "sad_voice.flac")
# Three words of four letters take its place; it has their length, so that nothing else moves.
STAMP: Final = "{{the--stamp}}"
# Every word is one token of the default model; with stamp, [CLS], full stop and [SEP] they are 18.
SENTENCES: Final = (
    f"i told my sister about {STAMP} and she was so happy for me.",
    f"we waited for the train with {STAMP} but it never came that night.",
    f"he said that {STAMP} is the worst thing he has seen all year.",
    f"please tell me why {STAMP} is gone because i miss it so much.",
    f"what a lovely day to see {STAMP} and walk along the old river.",
    f"they were afraid of {STAMP} and ran back to the house at once.",
    f"nobody asked me about {STAMP} so i kept quiet and went home early.",
    f"this food smells like {STAMP} and i can not eat any of it.",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How large inputs are: sentences of a text, pixels of a picture's side, seconds of a sound."""

    sentences: int = 1
    side: int = 256
    seconds: float = 3.0


USUAL: Final = Kind()
LONG_TEXT: Final = Kind(sentences=15)
LONG_SOUND: Final = Kind(seconds=20.0)
LIGHT: Final = Kind(side=64, seconds=0.5)


def example(number: int, kind: Kind = USUAL) -> dict[str, str | bytes]:
    """All three inputs of one request, by modality."""
    random = np.random.default_rng(number)
    return {
        "text": _text(number, kind.sentences),
        "image": _image(random, kind.side),
        "audio": _audio(random, kind.seconds),
    }


def _text(number: int, sentences: int) -> str:
    """The first sentence is stamped, and the others are as they are."""
    first, *others = (SENTENCES[(number + i) % len(SENTENCES)] for i in range(sentences))
    return " ".join([first, *(other.replace(STAMP, "what we know") for other in others)])


def _image(random: np.random.Generator, side: int) -> bytes:
    """A JPEG of the sample's face: cut, turned, mirrored and lit in another way each time."""
    face = Image.open(SAMPLES / "smile.jpg").convert("RGB")
    face = face.rotate(float(random.uniform(-12, 12)), Image.Resampling.BICUBIC)
    left, top = (int(random.integers(4, 24)) for _ in range(2))
    face = face.crop((left, top, left + 108, top + 108)).resize((side, side))
    face = ImageOps.mirror(face) if random.random() < 0.5 else face
    face = ImageEnhance.Brightness(face).enhance(float(random.uniform(0.7, 1.3)))
    file = io.BytesIO()
    face.save(file, "JPEG", quality=90, comment=STAMP)
    return file.getvalue()


def _audio(random: np.random.Generator, seconds: float) -> bytes:
    """A WAV of a sample's voice: from another place, at another speed and loudness each time."""
    voice, rate = soundfile.read(SAMPLES / VOICES[int(random.integers(len(VOICES)))])
    assert rate == RATE, "samples are of 16 kHz"
    count = int(seconds * RATE)
    speed, start = random.uniform(0.85, 1.15), random.uniform(0, len(voice))
    places = (start + speed * np.arange(count)) % len(voice)
    heard = np.interp(places, np.arange(len(voice)), voice) * random.uniform(0.5, 1.0)
    return _wav(heard + random.normal(0, 0.001, count))


def _wav(samples: npt.NDArray[np.float64]) -> bytes:
    """16 bits, one channel, and the stamp as the file's comment."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    comment = b"INFOICMT" + struct.pack("<I", len(STAMP)) + STAMP.encode()
    body = file.getvalue() + b"LIST" + struct.pack("<I", len(comment)) + comment
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]
