"""Judge a running mesh through its HTTP API on a manifest's split, and print the card's tables.

    python -m training.judge MANIFEST [--split test] [--url http://127.0.0.1:8000]

It is for a model whose examples are joined by class, of any modalities, all of which have encoders.
Two questions are asked. The judged set: joined examples, for each subset of the modalities. And
each modality alone on its natural test set, where the classes are as frequent as they are. What
`sensemesh evaluate` finds of such a model in one process must come out here too.
"""

import argparse
import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from sklearn.metrics import balanced_accuracy_score, f1_score

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.errors import TrainingError, told
from training.golden import subsets
from training.joining import Column, column_of, draw
from training.manifest import Row, read_manifest
from training.trained import raw_inputs

# Below the gateway's MESH_MAX_IN_FLIGHT, so that nothing is refused.
CONCURRENCY: Final = 16
# Patience, in seconds: a judgement is not about speed.
TIMEOUT: Final = 60.0
HEADERS: Final = {"X-Request-Timeout": str(TIMEOUT)}

Request = Mapping[Modality, Raw]


@contextmanager
def answered() -> Iterator[None]:
    """Raise TrainingError for what the mesh refuses, or where it does not answer at all."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        status, text = error.response.status_code, error.response.text
        raise TrainingError(f"{error.request.url} answers {status}: {text}") from error
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        raise TrainingError(f"{error.request.url} does not answer: {reason}") from error


def model_of(url: str) -> tuple[list[str], list[Modality]]:
    """The classes and the modalities of the model that the mesh prefers.

    Raises TrainingError where there is no mesh, or none that has a model.
    """
    with answered():
        response = httpx.get(f"{url}/v1/model").raise_for_status()
    try:
        model = response.json()["models"][0]
        return model["labels"], [modality for modality in Modality if modality in model["encoders"]]
    except (ValueError, LookupError, TypeError) as error:
        raise TrainingError(f"{url}/v1/model names no model") from error


async def predict(client: httpx.AsyncClient, request: Request) -> str:
    """The predicted class; raises TrainingError where the answer is not a whole one."""
    files = {
        str(modality): (None, raw) if isinstance(raw, str) else (str(modality), raw)
        for modality, raw in request.items()
    }
    with answered():
        response = await client.post("/predict", files=files, headers=HEADERS)
        response.raise_for_status()
    answer = response.json()
    if answer["degraded"]:
        raise TrainingError(f"the mesh answered without some modality: {answer['modalities']}")
    return answer["prediction"]


async def predict_all(url: str, requests: Sequence[Request]) -> np.ndarray:
    """The requests' predicted classes, some of them at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def ask(client: httpx.AsyncClient, request: Request) -> str:
        async with slots:
            return await predict(client, request)

    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT + 5) as client:
        return np.array(await asyncio.gather(*(ask(client, request) for request in requests)))


def column(rows: Sequence[Row], labels: Sequence[str], modality: Modality) -> Column:
    """Who has a modality; the mesh computes the vectors."""
    places = [place for place, row in enumerate(rows) if modality in row.inputs]
    return column_of(rows, labels, places, np.zeros((len(places), 0), np.float32))


def judge_subsets(
    url: str,
    rows: Sequence[Row],
    columns: Mapping[Modality, Column],
    labels: Sequence[str],
    per_class: int,
) -> None:
    """Print the scores of every subset of the columns' modalities on the judged set."""
    drawn = draw(columns, labels, per_class)
    chosen = {m: columns[m].places[drawn[m]].tolist() for m in columns}
    distinct = ", ".join(f"{len(set(places))} {m}" for m, places in chosen.items())
    print(f"Judged set: {per_class} a class; distinct: {distinct}.\n")
    right = np.array(labels).repeat(per_class)
    print("| modalities | accuracy | macro-F1 |\n|---|---|---|")
    for subset in subsets(columns):
        parts = zip(*(raw_inputs(rows, chosen[m], m) for m in subset), strict=True)
        requests = [dict(zip(subset, part, strict=True)) for part in parts]
        found = asyncio.run(predict_all(url, requests))
        figures = f"{(found == right).mean():.3f} | {f1_score(right, found, average='macro'):.3f}"
        print(f"| {' + '.join(subset)} | {figures} |", flush=True)


def judge_alone(
    url: str, rows: Sequence[Row], columns: Mapping[Modality, Column], labels: Sequence[str]
) -> None:
    """Print what each of the columns' modalities scores alone on all that the split has of it."""
    print(
        "\n| modality alone | inputs | accuracy | mean recall | macro-F1 |\n|---|---|---|---|---|"
    )
    for modality, own in columns.items():
        right = np.array(labels)[own.labels]
        raws = raw_inputs(rows, own.places.tolist(), modality)
        found = asyncio.run(predict_all(url, [{modality: raw} for raw in raws]))
        recall = balanced_accuracy_score(right, found)
        figures = f"{(found == right).mean():.3f} | {recall:.3f}"
        f1 = f1_score(right, found, average="macro")
        print(f"| {modality} | {len(right)} | {figures} | {f1:.3f} |", flush=True)


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description="Judge a running mesh through its HTTP API.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway")
    arguments = parser.parse_args(command_line)
    labels, modalities = model_of(arguments.url)
    rows = read_manifest(arguments.manifest).split(arguments.split).rows
    columns = {modality: column(rows, labels, modality) for modality in modalities}
    judge_subsets(arguments.url, rows, columns, labels, arguments.per_class)
    judge_alone(arguments.url, rows, columns, labels)


if __name__ == "__main__":
    with told():
        main()
