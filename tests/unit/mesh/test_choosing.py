"""The choice among engines."""

from pathlib import Path

import pytest

from mesh import choosing
from mesh.artifact import Artifact, ArtifactError
from mesh.choosing import choose, first, keep_choice, known_choice, processor
from mesh.engine import EngineUnsuitable, Kind
from mesh.engine_cache import EngineCache
from mesh.golden import GoldenMismatch
from mesh.settings import NodeSettings
from tests import fake_artifacts

BF16, FP32, SLOW = Kind("one", "bfloat16"), Kind("one", "float32"), Kind("two", "float32")
SECONDS = {BF16: 0.5, FP32: 1.0, SLOW: 2.0}
CHOICE = {"engine": "torch", "dtype": "float32", "max_batch_cost": 7.0}


class Loader:
    """Loads a kind as itself, but for some, and keeps which it was asked for."""

    def __init__(self, *broken: Kind, error: type[Exception] = EngineUnsuitable) -> None:
        self.broken, self.error, self.asked = broken, error, list[Kind]()

    def __call__(self, kind: Kind) -> Kind:
        """The kind."""
        self.asked.append(kind)
        if kind in self.broken:
            raise self.error(f"no {kind.engine} {kind.dtype}")
        return kind


def test_the_fastest_is_chosen() -> None:
    """Whatever its place."""
    for kinds in ((BF16, FP32, SLOW), (SLOW, FP32, BF16)):
        assert choose(kinds, Loader(), SECONDS.__getitem__) == (BF16, BF16)


def test_a_slow_moment_makes_no_kind_lose() -> None:
    """It befalls all that are measured then, and each has its best time."""
    slow = iter([10.0] * 3 + [1.0] * 100)
    assert choose((FP32, SLOW, BF16), Loader(), lambda kind: next(slow) * SECONDS[kind])[0] == BF16
    slow = iter([1.0, 1.0, 10.0] + [1.0] * 100)
    assert choose((FP32, SLOW, BF16), Loader(), lambda kind: next(slow) * SECONDS[kind])[0] == BF16


def test_float32_is_preferred_unless_the_other_is_clearly_faster() -> None:
    """A few percent are not worth the rounding."""
    assert choose((BF16, FP32), Loader(), {BF16: 0.95, FP32: 1.0}.__getitem__)[0] == FP32
    assert choose((BF16, FP32), Loader(), {BF16: 0.85, FP32: 1.0}.__getitem__)[0] == BF16


@pytest.mark.parametrize("error", [EngineUnsuitable, GoldenMismatch])
def test_a_kind_that_does_not_hold_is_not_chosen(error: type[Exception]) -> None:
    """Nor measured."""
    loader = Loader(BF16, SLOW, error=error)
    assert choose((BF16, FP32, SLOW), loader, {FP32: 1.0}.__getitem__) == (FP32, FP32)


def test_where_none_holds_the_last_ones_error_is_raised() -> None:
    """That is the one by which golden examples are computed."""
    with pytest.raises(EngineUnsuitable, match="no two float32"):
        choose((BF16, SLOW), Loader(BF16, SLOW), SECONDS.__getitem__)


def test_what_is_wrong_with_the_artifact_itself_ends_the_search() -> None:
    """No other engine would help."""
    loader = Loader(BF16, error=ArtifactError)
    with pytest.raises(ArtifactError):
        choose((BF16, FP32), loader, SECONDS.__getitem__)
    assert loader.asked == [BF16]


def test_a_single_kind_is_not_measured() -> None:
    """There is nothing to compare it with."""
    assert choose((SLOW,), Loader(), {}.__getitem__) == (SLOW, SLOW)


def test_the_first_that_holds_ends_the_search() -> None:
    """Where speed does not matter."""
    loader = Loader(BF16)
    assert first((BF16, FP32, SLOW), loader) == (FP32, FP32)
    assert loader.asked == [BF16, FP32]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Some artifact."""
    return Artifact.open(fake_artifacts.write_encoder(tmp_path / "text"))


def settings(folder: Path, **changed: object) -> NodeSettings:
    """Settings with a cache."""
    return NodeSettings.model_validate({"threads": 1, "engine_cache": str(folder), **changed})


def test_a_choice_is_known_at_the_next_start(tmp_path: Path, artifact: Artifact) -> None:
    """Of the same artifact with the same code and settings."""
    one = settings(tmp_path / "cache")
    assert known_choice(one, artifact, __name__) is None
    keep_choice(one, artifact, __name__, CHOICE)
    assert known_choice(one, artifact, __name__) == CHOICE
    assert known_choice(one, artifact, "json") is None  # The code of another package.
    for changed in ({"threads": 2}, {"dtype": "float32"}, {"max_batch": 8}):
        assert known_choice(settings(tmp_path / "cache", **changed), artifact, __name__) is None


def test_a_choice_takes_the_place_of_the_one_before(tmp_path: Path, artifact: Artifact) -> None:
    """Which no longer held, or lacked something."""
    one = settings(tmp_path / "cache")
    for cost in (1.0, 2.0):
        keep_choice(one, artifact, __name__, {**CHOICE, "max_batch_cost": cost})
        assert known_choice(one, artifact, __name__) == {**CHOICE, "max_batch_cost": cost}


def test_a_choice_that_vanishes_is_none(
    tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may remove it between two looks at it."""
    monkeypatch.setattr(EngineCache, "read", lambda cache, key: tmp_path / "gone")
    assert known_choice(settings(tmp_path / "cache"), artifact, __name__) is None


def test_a_choice_among_other_kinds_is_none(
    tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is a new one, which may be faster, or one of another name."""
    one = settings(tmp_path / "cache")
    keep_choice(one, artifact, __name__, CHOICE)
    monkeypatch.setattr(choosing, "kinds", lambda settings: [BF16, FP32])
    assert known_choice(one, artifact, __name__) is None


def test_the_processor_has_a_short_name() -> None:
    """The same each time."""
    assert processor() == processor()
    assert len(processor()) < 40
