"""Which engines settings allow, and what they are made of."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mesh.artifact import Artifact
from mesh.engine import (
    DeviceMissing,
    EngineUnsuitable,
    Kind,
    builders,
    is_on_one_thread,
    kinds,
    prepare,
)
from mesh.settings import NodeSettings
from tests import fake_artifacts


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Leave torch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Some artifact."""
    return Artifact.open(fake_artifacts.write_encoder(tmp_path / "text"))


def settings(**changed: object) -> NodeSettings:
    """Settings of one thread."""
    return NodeSettings.model_validate({"threads": 1, **changed})


def test_auto_allows_every_engine_and_dtype_of_a_cpu() -> None:
    """The last one is that of the golden examples, whose error says most."""
    assert kinds(settings()) == [
        Kind("openvino", "int8_dynamic"),
        Kind("openvino", "bfloat16"),
        Kind("openvino", "float32"),
        Kind("torch", "bfloat16"),
        Kind("torch", "float32"),
    ]


def test_auto_does_without_openvino_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine that was asked for by name is an error there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert {kind.engine for kind in kinds(settings())} == {"torch"}


def test_on_a_gpu_auto_is_torch_with_graphs_and_without() -> None:
    """OpenVINO is for the CPU here."""
    found = kinds(settings(devices="cuda:0"))
    assert {kind.engine for kind in found} == {"cuda_graphs", "torch"}
    assert {kind.dtype for kind in found} == {"bfloat16", "float32"}
    assert found[-1] == Kind("torch", "float32")


@pytest.mark.parametrize(("engine", "device"), [("cuda_graphs", "cpu"), ("openvino", "cuda:0")])
def test_an_engine_of_another_device_is_tried_once(engine: str, device: str) -> None:
    """It says by itself that it is none for this one."""
    asked = settings(engine=engine, devices=device)
    assert kinds(asked) == [Kind(engine, "float32")]


def test_what_is_asked_for_is_the_only_kind() -> None:
    """Nothing else is tried in its place."""
    asked = settings(engine="openvino", dtype="float32")
    assert kinds(asked) == [Kind("openvino", "float32")]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", "fp32"),
        ("bfloat16", "bf16"),
        ("float16", "bf16"),
        ("int8", "bf16"),
        ("int8_dynamic", "bf16"),
    ],
)
def test_the_tolerance_of_an_engine_is_that_of_its_numbers(dtype: str, expected: str) -> None:
    """Artifacts state one for float32 and one for what is coarser."""
    assert Kind("torch", dtype).tolerance == expected


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_each_device_has_a_builder(engine: str, artifact: Artifact) -> None:
    """In the order of MESH_DEVICES."""
    assert len(builders(Kind(engine, "float32"), settings(devices="cpu, cpu"), artifact)) == 2


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_torch_can_not_use_is_an_error_that_names_the_setting(device: str) -> None:
    """Before any model is built for it, and by one line."""
    with pytest.raises(DeviceMissing, match=f"^MESH_DEVICES: '{device}' can't be used: .+$"):
        prepare(settings(devices=f"cpu,{device}"))


def test_torch_has_no_int8(artifact: Artifact) -> None:
    """The error names the setting."""
    with pytest.raises(EngineUnsuitable, match="MESH_DTYPE: the torch engine has no int8"):
        builders(Kind("torch", "int8"), settings(), artifact)


def test_cuda_graphs_are_for_cuda_alone(artifact: Artifact) -> None:
    """The error names the setting."""
    (build,) = builders(Kind("cuda_graphs", "float32"), settings(), artifact)
    with pytest.raises(EngineUnsuitable, match="MESH_DEVICES: the cuda_graphs engine has no 'cpu'"):
        build(lambda: torch.nn.Identity(), {"input": torch.zeros(1, 2)})


def test_openvino_runs_on_the_cpu_alone(artifact: Artifact) -> None:
    """The error names the setting."""
    with pytest.raises(EngineUnsuitable, match="MESH_DEVICES: the openvino engine"):
        builders(Kind("openvino", "float32"), settings(devices="cuda:0"), artifact)


def test_an_engine_that_is_not_installed_is_an_error(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnsuitable, match="MESH_ENGINE: openvino is not installed"):
        builders(Kind("openvino", "float32"), settings(), artifact)


def test_the_threads_of_the_process_are_set() -> None:
    """MESH_THREADS bounds what preprocessing and a forward take of the machine."""
    prepare(settings())
    assert torch.get_num_threads() == 1


def test_one_thread_is_one_thread_of_a_cpu() -> None:
    """A GPU's work is not the process's."""
    assert is_on_one_thread(settings())
    assert not is_on_one_thread(settings(threads=2))
    assert not is_on_one_thread(settings(devices="cuda:0"))


def test_choosing_an_engine_imports_no_runtime() -> None:
    """A node on one of them must not pay for the other."""
    program = (
        "import sys; import mesh.loading; print({'torch', 'openvino'} & sys.modules.keys() or 'no')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "no"
