"""The bundled sample, sent through a mesh to show that all of it works."""

import asyncio
from pathlib import Path
from typing import Any, Final

from cli.client import PredictFailed, predict

FILES: Final = {"text": "text.txt", "image": "smile.jpg", "audio": "voice.wav"}
# Encoders that became ready just now may still be unknown to the gateway: so often it is asked
# again, and so many seconds apart.
TRIES: Final = 20
PAUSE: Final = 0.5


async def classified(folder: Path, url: str) -> str:
    """What the mesh at `url` says of the sample in `folder`, in one line for people."""
    names = ", ".join(FILES.values())
    try:
        answer = await _whole_answer(folder, url)
    except (PredictFailed, OSError) as error:
        return f"The bundled sample ({names}) could not be classified: {error}"
    reports = answer["modalities"]
    failed = [name for name, report in reports.items() if report["status"] == "failed"]
    doubt = f", degraded: without {' and '.join(failed)}" if failed else ""
    share = f"{answer['probability']:.1%}"
    return f"A bundled sample ({names}) is {answer['prediction']}, {share}{doubt}."


async def _whole_answer(folder: Path, url: str) -> dict[str, Any]:
    text = (folder / FILES["text"]).read_text(encoding="utf-8").strip()
    media = {field: (folder / FILES[field]).read_bytes() for field in ("image", "audio")}
    fields = {"text": text} | {field: (FILES[field], media[field]) for field in media}
    for _ in range(TRIES - 1):
        answer = await predict(url, fields)
        if not answer["degraded"]:
            return answer
        await asyncio.sleep(PAUSE)
    return await predict(url, fields)
