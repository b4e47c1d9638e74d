"""torch and its companions, whatever build of them is installed."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import services
import torch, torchaudio, transformers
from torchvision.transforms import v2
assert len(torchaudio.functional.resample(torch.zeros(9), 3, 2)) == 6
assert v2.functional.resize(torch.zeros(1, 4, 4), [2, 2]).shape == (1, 2, 2)
"""


def test_the_companions_of_torch_import_after_services() -> None:
    """In a new process what the services use of them can be imported and works."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=100)


NOT_NEEDED = {"torch", "torchvision", "torchaudio", "transformers"}
SERVED = (
    "services.text_encoder.encoder",
    "services.vision_encoder.encoder",
    "services.audio_encoder.encoder",
    "services.fusion.classifier",
)


@pytest.mark.parametrize("module", SERVED)
def test_a_node_imports_only_what_it_serves_with(module: str) -> None:
    """Each of these takes seconds of a core, and torch 130 MB."""
    program = f"import sys, {module}, mesh.node, mesh.loading, mesh.openvino_engine; "
    program += "mesh.openvino_model.openvino(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not NOT_NEEDED & set(done.stdout.decode().split())


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_threads_of_torch_wait_asleep_unless_told_otherwise(
    given: str | None, found: str
) -> None:
    """The policy is set before torch is loaded, which reads it only then."""
    program = "import services, os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: v for name, v in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == found
