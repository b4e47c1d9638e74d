"""`sensemesh train` from a config and a manifest to a model, and the mesh that serves it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.machine import free_ports
from cli.topology import gateway
from cli.train import train
from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.loading import load_encoder, load_fusion
from mesh.node import Load
from services.audio_encoder.encoder import AudioEncoder
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder
from tests.e2e.member import Member, end_all, http
from tests.running_node import running
from tests.tiny_task import LABELS, section_of, write_config, write_task
from training.golden import subsets
from training.manifest import Row, read_manifest
from training.trained import load_model, vectors_of

ENCODED: Final = {"text": "rnn", "image": "vit", "audio": "crnn"}

# How each node loads what it serves, as its own `__main__` says.
LOADS: Final[Mapping[str, Load]] = {
    "text-encoder": partial(load_encoder, folder="text", load=TextEncoder.load),
    "vision-encoder": partial(load_encoder, folder="image", load=VisionEncoder.load),
    "audio-encoder": partial(load_encoder, folder="audio", load=AudioEncoder.load),
    "fusion": partial(load_fusion, load=FusionClassifier.load),
}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny task's folder."""
    return write_task(tmp_path_factory.mktemp("task")).parent


@pytest.fixture(scope="module")
def model(task: Path) -> Iterator[Path]:
    """What `sensemesh train` makes of the task, two of its encoders in unlike precisions."""
    sections = {name: section_of(family) for name, family in ENCODED.items()}
    sections["image"]["fit"]["precision"] = "bf16"
    config = write_config(task, **sections, fusion={"steps": 60, "batch_size": 16})
    output = task / "models" / "tiny"
    options = [f"--output={output}", f"--state={task / 'state'}", f"--cache={task / 'kept'}"]
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_THREADS", "1")
        result = CliRunner().invoke(train, [str(config), *options])
        assert result.exit_code == 0, result.output
        assert f"sensemesh up --model {output}" in result.output
        yield output
    torch.set_num_threads(threads)


@asynccontextmanager
async def serving(model: Path, log: Path) -> AsyncIterator[Member]:
    """The gateway, a process of its own, before a model's nodes; there is no Redis to remember."""
    async with AsyncExitStack() as stack:
        targets = {}
        for name, load in LOADS.items():
            node = await stack.enter_async_context(running(load, model=str(model)))
            targets[name] = f"127.0.0.1:{node.node.info['grpc_port']}"
        port, nowhere = free_ports(2)
        process = gateway(port, targets, f"redis://127.0.0.1:{nowhere}/0", {})
        member = Member(process, log)
        member.start()
        try:
            await asyncio.to_thread(member.wait_ready)
            yield member
        finally:
            await asyncio.to_thread(end_all, [member])


def in_process(model: Path, rows: Sequence[Row]) -> dict[tuple[Modality, ...], np.ndarray]:
    """The probabilities that training's own path computes, of each subset of the modalities."""
    whole = load_model(model)
    vectors = {m: vectors_of(whole, m, rows, cache=None)[1] for m in whole.modalities}
    return {
        subset: whole.classifier.classify(
            [{m: vectors[m][number] for m in subset} for number in range(len(rows))]
        )
        for subset in subsets(whole.modalities)
    }


def sent(row: Row, subset: tuple[Modality, ...]) -> dict[str, str]:
    """Some of a row's inputs as a caller sends them."""
    raw = {modality: row.raw(modality) for modality in subset}
    return {
        str(modality): value if isinstance(value, str) else base64.b64encode(value).decode()
        for modality, value in raw.items()
    }


def asked(url: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What the gateway answers."""
    response = http.post(f"{url}/predict", json=inputs)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_mesh_answers_what_training_computes(
    model: Path, task: Path, tmp_path: Path
) -> None:
    """Of every subset of the modalities, within 1e-3, by the head that was trained."""
    rows = read_manifest(task / "manifest.csv").split("test").rows
    expected = in_process(model, rows)
    assert len(expected) == 7
    version = Artifact.open(model / "fusion").version
    async with serving(model, tmp_path / "gateway.log") as gateway_process:
        for subset, probabilities in expected.items():
            for row, right in zip(rows, probabilities, strict=True):
                answer = await asyncio.to_thread(asked, gateway_process.url, sent(row, subset))
                assert (answer["degraded"], answer["model"]["version"]) == (False, version)
                found = [answer["probabilities"][label] for label in LABELS]
                assert found == pytest.approx(right, abs=1e-3)
