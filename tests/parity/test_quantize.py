"""An encoder in int8: the real quantisation, of tiny networks."""

import re
from pathlib import Path

import numpy as np
import pytest

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import Kind, builders
from mesh.settings import InputLimits, NodeSettings
from tests.tiny_task import FAMILIES, config_of, section_of, served, trained, write_task
from training.artifacts import write_untrained
from training.config import EncoderConfig
from training.embed import ENCODERS, embed
from training.errors import TrainingError
from training.fusion import train_fusion
from training.golden import SAMPLES
from training.manifest import Manifest, read_manifest
from training.quantize import main, quantize


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A tiny task's."""
    return read_manifest(write_task(tmp_path_factory.mktemp("task")))


def artifact(family: str, folder: Path, manifest: Manifest) -> Artifact:
    """An encoder as training begins with it."""
    modality, _ = FAMILIES[family]
    config = EncoderConfig.model_validate(section_of(family))
    write_untrained(folder / modality, "tiny", modality, config, manifest.path.parent)
    return Artifact.open(folder / modality)


@pytest.mark.parametrize("family", ["bert", "vit", "whisper", "tcn"])
def test_int8_is_near_what_float32_computes(
    family: str, tmp_path: Path, manifest: Manifest
) -> None:
    """For inputs of any length, in batches; and the artifact is still the same.

    Networks of so few numbers are off by more than real ones.
    """
    one = artifact(family, tmp_path, manifest)
    modality = Modality(one.config["modality"])

    file = quantize(one, manifest.split("train").rows)

    assert file == tmp_path / "int8" / f"{modality}.xml"
    assert Artifact.open(one.path).version == one.version
    settings = NodeSettings(threads=1, engine_cache="")
    (build,) = builders(Kind("openvino", "int8"), settings, one)
    encoder = ENCODERS[modality](one, build, InputLimits())
    vectors = embed(encoder, [row.raw(modality) for row in manifest.rows])
    expected = served(one, manifest.path)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((vectors * expected).sum(1) / norms).min() > 0.8
    assert not np.array_equal(vectors, expected)


def test_without_rows_to_learn_from_nothing_is_written(tmp_path: Path, manifest: Manifest) -> None:
    """The error says what is missing."""
    one = artifact("bert", tmp_path, manifest)
    with pytest.raises(TrainingError, match="no row of split train has text"):
        quantize(one, [])
    assert not (tmp_path / "int8").exists()


def test_what_int8_costs_and_saves_is_told(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    """For each dtype, and that no node serves one, as of so small a network's int8."""
    task = manifest.path.parent
    trained(task, "vit", tmp_path)
    config = config_of(task, image=section_of("vit"), fusion={"steps": 20, "batch_size": 8})
    train_fusion(config, tmp_path, SAMPLES, tmp_path / "kept")
    capsys.readouterr()

    main([str(manifest.path), str(tmp_path), "image"])

    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines()[-4:])
    assert list(told) == ["float32", "bfloat16", "int8_dynamic", "int8"]
    form = r"macro-F1 [01]\.\d{4}, accuracy [01]\.\d{4}, \d+\.\d\d ms an input"
    assert re.fullmatch(form, told["float32"])
    reason = r"the golden outputs of \S+ differ: the least cosine is 0\.9\d+, and bf16 needs 0\.99"
    assert re.fullmatch(f"{form}; no node serves it: {reason}", told["int8"])
