"""Judging over HTTP, against a tiny gateway in this process."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mesh.embedding import Modality
from mesh.encoding import Raw
from training import judge
from training.errors import TrainingError
from training.joining import Column
from training.judge import column, judge_alone, judge_subsets, model_of, predict, predict_all
from training.manifest import Row

TEXT, IMAGE, AUDIO = Modality
LABELS = ("glad", "sad")
URL = "http://mesh"
REQUEST = {TEXT: "ä", IMAGE: b"\x89PNG", AUDIO: b"RIFF"}


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
        with pytest.raises(TrainingError, match="without some modality"):
            await predict(client, REQUEST)


async def test_a_refusal_ends_the_judgement() -> None:
    """Nothing is left out silently."""
    async with gateway(429, {"title": "Too many requests"}, []) as client:
        with pytest.raises(TrainingError, match=r"mesh/predict answers 429: .*Too many requests"):
            await predict(client, REQUEST)


async def test_a_mesh_that_is_gone_ends_the_judgement() -> None:
    """With a message that names it."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    async with httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(refuse)) as client:
        with pytest.raises(TrainingError, match="predict does not answer: connection refused"):
            await predict(client, REQUEST)


class Mesh:
    """Answers "sad" to whatever holds "sad" in any modality, and keeps what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Any request's answer."""
        self.bodies.append(request.content)
        self.headers.append(request.headers)
        answer = "sad" if b"sad" in self.bodies[-1] else "glad"
        return httpx.Response(200, json={"prediction": answer, "degraded": False})


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """What every client of the judge reaches."""
    answering = Mesh()
    client: Callable[..., httpx.AsyncClient] = partial(
        httpx.AsyncClient, transport=httpx.MockTransport(answering)
    )
    monkeypatch.setattr(judge.httpx, "AsyncClient", client)
    return answering


def rows(folder: Path, texts: Mapping[str, str]) -> list[Row]:
    """Rows of a text each with its class, then of a picture and a sound of each class."""
    found = [
        Row(line, label, "test", "", {TEXT: text}, {})
        for line, (text, label) in enumerate(texts.items(), 2)
    ]
    for label in LABELS:
        for modality in (IMAGE, AUDIO):
            file = folder / f"{label}-{modality}"
            file.write_bytes(b"\x89" + label.encode())
            found.append(Row(2 + len(found), label, "test", "", {modality: file}, {}))
    return found


def columns(rows: list[Row], *modalities: Modality) -> dict[Modality, Column]:
    """Who has each of these modalities."""
    return {modality: column(rows, LABELS, modality) for modality in modalities}


def table(printed: str) -> dict[str, list[str]]:
    """The cells of a printed table's rows, by the first of them."""
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in lines[2:]}


async def test_answers_come_in_the_order_of_the_requests(mesh: Mesh) -> None:
    """More of them than are asked at a time, with a deadline that suits a judgement."""
    requests: list[Mapping[Modality, Raw]] = [
        {TEXT: "sad" if number % 3 else "a"} for number in range(50)
    ]

    found = await predict_all(URL, requests)

    assert found.tolist() == ["sad" if number % 3 else "glad" for number in range(50)]
    assert {headers["X-Request-Timeout"] for headers in mesh.headers} == {"60.0"}


def test_a_column_is_of_the_rows_that_have_the_modality(tmp_path: Path) -> None:
    """Its vectors are the mesh's affair."""
    found = column(rows(tmp_path, {"a": "glad", "b": "sad"}), LABELS, IMAGE)

    assert (found.places.tolist(), found.labels.tolist()) == ([2, 4], [0, 1])
    assert found.vectors.shape == (2, 0)


def test_each_subset_is_judged_on_the_same_joined_examples(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So many a class; a text that is taken wrongly counts where nothing else helps."""
    given = rows(tmp_path, {"a": "glad", "b": "sad"})

    judge_subsets(URL, given, columns(given, *Modality), LABELS, per_class=3)

    printed = capsys.readouterr().out
    assert "Judged set: 3 a class; distinct: 2 text, 2 image, 2 audio." in printed
    right = ["1.000", "1.000"]
    others = ("image", "audio", "text + image", "text + audio", "image + audio")
    assert table(printed) == {
        "text": ["0.500", "0.333"],
        **dict.fromkeys([*others, "text + image + audio"], right),
    }
    assert len(mesh.bodies) == 7 * 6


def test_a_judged_set_needs_every_class(tmp_path: Path) -> None:
    """Nothing can be joined without."""
    given = rows(tmp_path, {"a": "glad"})

    with pytest.raises(TrainingError, match="no text of the class 'sad'"):
        judge_subsets(URL, given, columns(given, *Modality), LABELS, per_class=3)


def test_each_modality_alone_is_judged_on_all_its_rows(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As frequent as its classes are: accuracy, mean recall and macro-F1 differ then."""
    texts = {"a": "glad", "b": "glad", "c": "glad", "d": "sad"}

    given = rows(tmp_path, texts)

    judge_alone(URL, given, columns(given, *Modality), LABELS)

    # All four are taken for glad: F1 is 6/7 and 0.
    assert table(capsys.readouterr().out) == {
        "text": ["4", "0.750", "0.500", f"{np.mean([6 / 7, 0]):.3f}"],
        "image": ["2", "1.000", "1.000", "1.000"],
        "audio": ["2", "1.000", "1.000", "1.000"],
    }


def describes(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Let the mesh describe its models so."""

    def get(url: str) -> httpx.Response:
        assert url == f"{URL}/v1/model"
        return httpx.Response(200, json=answer, request=httpx.Request("GET", url))

    monkeypatch.setattr(judge.httpx, "get", get)


@pytest.mark.parametrize("answer", [{}, {"models": []}, {"models": [{}]}, []])
def test_what_names_no_model_is_no_mesh(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Something else may answer at the same port."""
    describes(monkeypatch, answer)

    with pytest.raises(TrainingError, match="http://mesh/v1/model names no model"):
        model_of(URL)


def test_the_command_judges_a_split_of_a_manifest(
    mesh: Mesh,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the classes and the modalities of the mesh that runs, and not by others' inputs."""
    rows(tmp_path, {})
    cells = [f"a {m},{m}-image,{m}-audio,{m},{s}" for m in LABELS for s in ("test", "dev")]
    lines = ["text,image,audio,label,split", *cells, "a,,,glad,train"]
    (tmp_path / "m.csv").write_text("\n".join(lines))

    describes(
        monkeypatch,
        {"models": [{"labels": LABELS, "encoders": {"audio": "sha256:1", "text": "sha256:2"}}]},
    )

    arguments: list[Any] = [tmp_path / "m.csv", "--url", URL, "--per-class", 2, "--split", "dev"]
    judge.main([str(argument) for argument in arguments])

    printed = capsys.readouterr().out
    assert "Judged set: 2 a class; distinct: 2 text, 2 audio." in printed
    assert "image" not in printed
    assert "| text | 2 | 1.000 | 1.000 | 1.000 |" in printed
