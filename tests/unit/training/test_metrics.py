"""Scores, against values worked out by hand."""

import numpy as np
import pytest

from training.metrics import BINS, Estimate, Scores, score

CLASSES = ("anger", "joy", "sadness")


def predicted(*classes: int, confidence: float = 0.8) -> np.ndarray:
    """Probabilities that say these of the three classes, each with the same confidence."""
    rest = (1 - confidence) / 2
    return np.where(np.eye(3)[list(classes)] == 1, confidence, rest)


def contained(estimate: Estimate) -> bool:
    """Whether the value lies in its own interval."""
    return estimate.low <= estimate.value <= estimate.high


@pytest.fixture
def scores() -> Scores:
    """Three of four angers and one of two joys are found; both misses are taken for sadness."""
    return score(predicted(0, 0, 0, 2, 1, 2), np.array([0, 0, 0, 0, 1, 1]), CLASSES)


def test_figures_are_what_the_definitions_say(scores: Scores) -> None:
    """Averages are over the two classes that there are examples of."""
    assert scores.accuracy.value == pytest.approx(4 / 6)
    assert scores.balanced_accuracy.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores.macro_recall.value == scores.balanced_accuracy.value
    assert scores.macro_precision.value == pytest.approx(1.0)
    assert scores.macro_f1.value == pytest.approx((6 / 7 + 2 / 3) / 2)


def test_each_class_has_its_own_figures(scores: Scores) -> None:
    """Also one that has no examples."""
    anger, joy, sadness = scores.classes
    assert (anger.label, anger.support) == ("anger", 4)
    assert (anger.precision, anger.recall) == (1.0, 0.75)
    assert joy.f1 == pytest.approx(2 / 3)
    assert (sadness.precision, sadness.recall, sadness.f1, sadness.support) == (0, 0, 0, 0)


def test_the_confusion_matrix_has_a_row_for_each_true_class(scores: Scores) -> None:
    """And a column for each that was said."""
    assert scores.confusion == ((3, 0, 1), (0, 1, 1), (0, 0, 0))


def test_a_calibrated_predictor_has_no_calibration_error() -> None:
    """Eight of ten are right where it is sure to 0.8."""
    labels = np.array([0] * 8 + [1] * 2)
    assert score(predicted(*[0] * 10), labels, CLASSES).ece.value == pytest.approx(0.0)


def test_an_overconfident_predictor_is_off_by_its_overconfidence() -> None:
    """Half of the answers are right, and all were sure to 0.9."""
    labels = np.array([0] * 5 + [1] * 5)
    scores = score(predicted(*[0] * 10, confidence=0.9), labels, CLASSES)
    assert scores.ece.value == pytest.approx(0.4)


def test_calibration_errors_of_bins_are_weighted_by_their_examples() -> None:
    """Over- and underconfidence don't cancel out."""
    probabilities = np.vstack(
        [predicted(*[0] * 6, confidence=0.9), predicted(0, 0, confidence=0.5)]
    )
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    expected = (6 * abs(0.9 - 0.5) + 2 * abs(0.5 - 1.0)) / 8
    assert score(probabilities, labels, CLASSES).ece.value == pytest.approx(expected)


def test_bins_hold_every_example_once() -> None:
    """The sure one is in the last bin; an edge belongs to the bin below; empty bins say nothing."""
    probabilities = np.vstack([predicted(0, confidence=c) for c in (1.0, 0.6, 0.61)])
    bins = score(probabilities, np.array([0, 0, 1]), CLASSES).bins
    assert len(bins) == BINS
    assert {number: bin.count for number, bin in enumerate(bins) if bin.count} == {
        8: 1,
        9: 1,
        14: 1,
    }
    assert (bins[14].confidence, bins[14].accuracy) == (1.0, 1.0)
    assert (bins[9].confidence, bins[9].accuracy) == (pytest.approx(0.61), 0.0)
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)


def noisy(examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are often right, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=examples)
    logits = rng.standard_normal((examples, 3)) + 1.5 * np.eye(3)[labels]
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), labels


def test_intervals_hold_their_values_and_shrink_with_more_examples() -> None:
    """By the root of the number: a ninth of the examples make it three times as wide."""
    few, many = (score(*noisy(examples), CLASSES) for examples in (100, 900))
    for scores in (few, many):
        assert contained(scores.accuracy)
        assert contained(scores.macro_precision)
        assert contained(scores.macro_f1)
    ratio = (few.accuracy.high - few.accuracy.low) / (many.accuracy.high - many.accuracy.low)
    assert ratio == pytest.approx(3, rel=0.25)


def test_an_interval_of_accuracy_is_the_binomials() -> None:
    """1.96 standard errors to either side."""
    probabilities, labels = noisy(900)
    accuracy = score(probabilities, labels, CLASSES).accuracy
    error = np.sqrt(accuracy.value * (1 - accuracy.value) / 900)
    assert accuracy.high - accuracy.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_where_all_are_right_no_resample_says_otherwise() -> None:
    """Whatever classes a resample lacks."""
    scores = score(predicted(0, 1, 2), np.array([0, 1, 2]), CLASSES)
    assert scores.macro_f1 == Estimate(1.0, 1.0, 1.0)
    assert scores.macro_precision == Estimate(1.0, 1.0, 1.0)


def test_groups_that_err_together_make_intervals_wider() -> None:
    """Ten speakers of whom three are never understood say less than a hundred clips."""
    speakers = np.repeat(np.arange(10), 10)
    probabilities = predicted(*np.where(speakers < 3, 1, 0))
    labels = np.zeros(100, int)
    plain = score(probabilities, labels, CLASSES)
    grouped = score(probabilities, labels, CLASSES, groups=speakers)
    assert (plain.clusters, grouped.clusters) == (100, 10)
    assert grouped.accuracy.value == plain.accuracy.value
    width, plain_width = (s.accuracy.high - s.accuracy.low for s in (grouped, plain))
    assert width > 2 * plain_width


def test_one_group_alone_is_resampled_by_its_examples() -> None:
    """There is no other to compare it with."""
    probabilities, labels = noisy(50)
    one = score(probabilities, labels, CLASSES, groups=np.array(["15"] * 50))
    assert one == score(probabilities, labels, CLASSES)


def test_the_same_seed_gives_the_same_intervals() -> None:
    """And another one others."""
    probabilities, labels = noisy(50)
    first, again, other = (score(probabilities, labels, CLASSES, seed=s) for s in (1, 1, 2))
    assert first == again != other
