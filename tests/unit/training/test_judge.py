"""Judging over HTTP, against a tiny gateway in this process."""

import httpx
import pytest

from mesh.embedding import Modality
from training.judge import predict

REQUEST = {Modality.TEXT: "ä", Modality.IMAGE: b"\x89PNG", Modality.AUDIO: b"RIFF"}


def gateway(status: int, answer: dict[str, object], seen: list[httpx.Request]) -> httpx.AsyncClient:
    """A client of a gateway that always answers the same, and keeps what it was asked."""

    def answer_with(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=answer)

    return httpx.AsyncClient(base_url="http://mesh", transport=httpx.MockTransport(answer_with))


async def test_a_request_holds_each_modality_as_a_field() -> None:
    """Text as a plain field, image and audio as files."""
    seen: list[httpx.Request] = []
    async with gateway(200, {"prediction": "joy", "degraded": False}, seen) as client:
        assert await predict(client, REQUEST) == "joy"

    (request,) = seen
    body = request.content
    assert request.url.path == "/predict"
    assert b'name="text"\r\n\r\n\xc3\xa4\r\n' in body
    assert b'name="image"; filename="image"' in body
    assert b'name="audio"; filename="audio"' in body


async def test_a_degraded_answer_is_no_judgement() -> None:
    """A class that rests on fewer modalities than were asked about would falsify the score."""
    answer = {"prediction": "joy", "degraded": True, "modalities": {"text": {"status": "failed"}}}
    async with gateway(200, answer, []) as client:
        with pytest.raises(RuntimeError, match="without some modality"):
            await predict(client, REQUEST)


async def test_a_refusal_ends_the_judgement() -> None:
    """Nothing is left out silently."""
    async with gateway(429, {"title": "Too many requests"}, []) as client:
        with pytest.raises(httpx.HTTPStatusError):
            await predict(client, REQUEST)
