"""Judge a running mesh through its HTTP API, and print the model card's tables.

    python -m training.judge --data PATH [--url http://127.0.0.1:8000]

Two questions are asked. The judged set: triples joined by class, for each subset of modalities.
And each modality alone on its natural test set, where the classes are as frequent as they are.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.data import LABELS, READERS, Labelled, draw_judged
from training.golden import subsets

# Below the gateway's MESH_MAX_IN_FLIGHT, so that nothing is refused.
CONCURRENCY = 16
# Patience, in seconds: a judgement is not about speed.
TIMEOUT = 60.0
HEADERS = {"X-Request-Timeout": str(TIMEOUT)}

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
    """The requests' predicted classes as indices of LABELS, some of them at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def ask(client: httpx.AsyncClient, request: Request) -> int:
        async with slots:
            return LABELS.index(await predict(client, request))

    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT + 5) as client:
        return np.array(await asyncio.gather(*(ask(client, request) for request in requests)))


def judge_subsets(url: str, parts: Mapping[Modality, Labelled]) -> None:
    """Print the accuracy of every subset of modalities on the judged set."""
    rows = draw_judged({modality: part.labels for modality, part in parts.items()})
    triples = {modality: parts[modality].subset(rows[modality]) for modality in parts}
    labels = triples[Modality.TEXT].labels
    distinct = {modality: len(set(triple.sources)) for modality, triple in triples.items()}
    print(
        f"Judged set: {len(labels)} triples of {distinct[Modality.TEXT]} distinct texts, ", end=""
    )
    print(f"{distinct[Modality.IMAGE]} faces and {distinct[Modality.AUDIO]} voices.\n")
    print("| modalities | accuracy |\n|---|---|")
    for subset in subsets():
        requests = [
            {modality: triples[modality].inputs[row] for modality in subset}
            for row in range(len(labels))
        ]
        accuracy = (asyncio.run(predict_all(url, requests)) == labels).mean()
        print(f"| {' + '.join(subset)} | {accuracy:.3f} |", flush=True)


def judge_alone(url: str, parts: Mapping[Modality, Labelled]) -> None:
    """Print each modality's accuracy and mean recall over classes on its natural test set."""
    print(
        "\n| modality alone | inputs | accuracy | mean recall of the classes |\n|---|---|---|---|"
    )
    for modality, part in parts.items():
        requests = [{modality: raw} for raw in part.inputs]
        is_right = asyncio.run(predict_all(url, requests)) == part.labels
        recall = np.mean([is_right[part.labels == number].mean() for number in range(len(LABELS))])
        print(
            f"| {modality} | {len(is_right)} | {is_right.mean():.3f} | {recall:.3f} |", flush=True
        )


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description="Judge a running mesh through its HTTP API.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three data sets")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway")
    arguments = parser.parse_args()
    parts = {modality: READERS[modality](arguments.data, "judged") for modality in Modality}
    judge_subsets(arguments.url, parts)
    judge_alone(arguments.url, parts)


if __name__ == "__main__":
    main()
