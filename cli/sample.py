"""The bundled sample, sent through a mesh to show that all of it works."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.local_http import post
from cli.reply import PredictFailed, understood

FILES: Final = {"text": "text.txt", "image": "smile.jpg", "audio": "voice.wav"}
# Encoders that became ready just now may still be unknown to the gateway: so often it is asked
# again, and so many seconds apart.
TRIES: Final = 20
PAUSE: Final = 0.5
# Seconds without a sign of an answer. The gateway's own deadline may be raised to sixty.
PATIENCE: Final = 65.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What is sent: these modalities of the sample in `folder`."""

    folder: Path
    modalities: Sequence[str]


async def classified(sample: Sample, url: str) -> str:
    """What the mesh at `url` says of the sample, in one line for people."""
    names = ", ".join(FILES[modality] for modality in sample.modalities)
    try:
        answer = await _whole_answer(sample, url)
    except (PredictFailed, OSError) as error:
        return f"The bundled sample ({names}) could not be classified: {error}"
    reports = answer["modalities"]
    failed = [name for name, report in reports.items() if report["status"] == "failed"]
    doubt = f", degraded: without {' and '.join(failed)}" if failed else ""
    share = f"{answer['probability']:.1%}"
    return f"A bundled sample ({names}) is {answer['prediction']}, {share}{doubt}."


async def _whole_answer(sample: Sample, url: str) -> dict[str, Any]:
    fields = {modality: _field(sample.folder, modality) for modality in sample.modalities}
    for _ in range(TRIES - 1):
        answer = await _predict(url, fields)
        if not answer["degraded"]:
            return answer
        await asyncio.sleep(PAUSE)
    return await _predict(url, fields)


async def _predict(url: str, fields: Mapping[str, str]) -> dict[str, Any]:
    reply = await post(f"{url}/predict", fields, PATIENCE)
    return understood(url, reply.status, reply.body)


def _field(folder: Path, modality: str) -> str:
    file = folder / FILES[modality]
    if modality == "text":
        return file.read_text(encoding="utf-8").strip()
    return b64encode(file.read_bytes()).decode()
