"""The bundled sample over real HTTP, against a gateway that gives one answer."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from cli.sample import FILES, Sample, classified
from tests.integration.fake_gateway import ANSWER, serving

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.parametrize("modalities", [list(FILES), ["text", "image"], ["audio"]])
async def test_only_what_the_model_takes_is_sent(modalities: list[str]) -> None:
    """And only that is named."""
    with serving() as gateway:
        said = await classified(Sample(SAMPLES, modalities), gateway.url)
    assert list(json.loads(gateway.asked)) == modalities
    names = ", ".join(FILES[name] for name in modalities)
    assert said == f"A bundled sample ({names}) is joy, 97.0%."


async def test_text_goes_without_the_end_of_its_line_and_media_as_they_are() -> None:
    """As somebody would send them by hand."""
    with serving() as gateway:
        await classified(Sample(SAMPLES, ["text", "image"]), gateway.url)
    sent = json.loads(gateway.asked)
    assert sent["text"] == (SAMPLES / "text.txt").read_text(encoding="utf-8").strip()
    assert b64decode(sent["image"]) == (SAMPLES / "smile.jpg").read_bytes()


async def test_a_refusal_is_told() -> None:
    """The mesh serves on, though the sample was none for it."""
    problem = {"title": "Malformed request", "detail": "no model here takes audio"}
    with serving() as gateway:
        gateway.status, gateway.body = 400, json.dumps(problem)
        said = await classified(Sample(SAMPLES, ["audio"]), gateway.url)
    assert "(voice.wav) could not be classified" in said
    assert "no model here takes audio" in said


async def test_a_degraded_answer_is_asked_for_again_and_then_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what it went without."""
    monkeypatch.setattr("cli.sample.PAUSE", 0.0)
    reports = ANSWER["modalities"] | {"image": {"status": "failed"}}
    with serving() as gateway:
        gateway.body = json.dumps(ANSWER | {"degraded": True, "modalities": reports})
        said = await classified(Sample(SAMPLES, ["text", "image"]), gateway.url)
    assert said.endswith("is joy, 97.0%, degraded: without image.")
