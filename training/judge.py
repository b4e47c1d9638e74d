"""Judge a running mesh through its HTTP API on a manifest's split, and print the card's tables.

    python -m training.judge MANIFEST [--split test] [--url http://127.0.0.1:8000]

Two questions are asked. The judged set: examples joined by class, for each subset of modalities.
And each modality alone on its natural test set, where the classes are as frequent as they are.
What `sensemesh evaluate` finds in one process must come out here too.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from sklearn.metrics import balanced_accuracy_score, f1_score

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.golden import subsets
from training.joining import Column, column_of, draw
from training.manifest import Row, read_manifest

# Below the gateway's MESH_MAX_IN_FLIGHT, so that nothing is refused.
CONCURRENCY: Final = 16
# Patience, in seconds: a judgement is not about speed.
TIMEOUT: Final = 60.0
HEADERS: Final = {"X-Request-Timeout": str(TIMEOUT)}

Request = Mapping[Modality, Raw]


async def predict(client: httpx.AsyncClient, request: Request) -> str:
    """The predicted class; raises where the answer is not a whole one."""
    files = {
        str(modality): (None, raw) if isinstance(raw, str) else (str(modality), raw)
        for modality, raw in request.items()
    }
    response = await client.post("/predict", files=files, headers=HEADERS)
    response.raise_for_status()
    answer = response.json()
    if answer["degraded"]:
        raise RuntimeError(f"the mesh answered without some modality: {answer['modalities']}")
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


def judge_subsets(url: str, rows: Sequence[Row], labels: Sequence[str], per_class: int) -> None:
    """Print the scores of every subset of modalities on the judged set."""
    columns = {modality: column(rows, labels, modality) for modality in Modality}
    drawn = draw(columns, labels, per_class)
    chosen = {m: [rows[place] for place in columns[m].places[drawn[m]]] for m in columns}
    distinct = ", ".join(f"{len({row.line for row in r})} {m}" for m, r in chosen.items())
    print(f"Judged set: {per_class} a class; distinct: {distinct}.\n")
    right = np.array(labels).repeat(per_class)
    print("| modalities | accuracy | macro-F1 |\n|---|---|---|")
    for subset in subsets(columns):
        requests = [{m: chosen[m][number].raw(m) for m in subset} for number in range(len(right))]
        found = asyncio.run(predict_all(url, requests))
        figures = f"{(found == right).mean():.3f} | {f1_score(right, found, average='macro'):.3f}"
        print(f"| {' + '.join(subset)} | {figures} |", flush=True)


def judge_alone(url: str, rows: Sequence[Row]) -> None:
    """Print what each modality scores alone on all that the split has of it."""
    print(
        "\n| modality alone | inputs | accuracy | mean recall | macro-F1 |\n|---|---|---|---|---|"
    )
    for modality in Modality:
        having = [row for row in rows if modality in row.inputs]
        right = np.array([row.label for row in having])
        found = asyncio.run(predict_all(url, [{modality: row.raw(modality)} for row in having]))
        recall = balanced_accuracy_score(right, found)
        figures = f"{(found == right).mean():.3f} | {recall:.3f}"
        f1 = f1_score(right, found, average="macro")
        print(f"| {modality} | {len(right)} | {figures} | {f1:.3f} |", flush=True)


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description="Judge a running mesh through its HTTP API.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway")
    arguments = parser.parse_args()
    labels = httpx.get(f"{arguments.url}/v1/model").raise_for_status().json()["labels"]
    rows = read_manifest(arguments.manifest).split(arguments.split).rows
    judge_subsets(arguments.url, rows, labels, arguments.per_class)
    judge_alone(arguments.url, rows)


if __name__ == "__main__":
    main()
