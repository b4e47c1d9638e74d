"""How embeddings join into the examples that are scored."""

from collections.abc import Sequence

import numpy as np
import pytest

from mesh.embedding import Modality
from training.errors import TrainingError
from training.joining import Column, by_class, by_row, column_of, draw, stratified
from training.manifest import Row

TEXT, IMAGE, AUDIO = Modality


def rows(*labels: str, groups: Sequence[str] = ()) -> list[Row]:
    """Rows of these classes and groups."""
    named = [*groups, *[""] * (len(labels) - len(groups))]
    return [Row(n + 2, label, "test", named[n], {}, {}) for n, label in enumerate(labels)]


def column(labels: Sequence[int], places: Sequence[int] | None = None, group: str = "") -> Column:
    """A column whose vectors are its places."""
    at = np.arange(len(labels)) if places is None else np.array(places)
    groups = np.array(
        [
            f"{group}{label}" if group else str(place)
            for place, label in zip(at, labels, strict=True)
        ]
    )
    return Column(at, np.array(labels), groups, at[:, None].astype(np.float32))


def test_rows_join_where_they_have_everything() -> None:
    """Each modality by its own number of the row."""
    columns = {TEXT: column([0, 1, 1], [0, 2, 5]), AUDIO: column([1, 0, 1], [2, 3, 5])}
    examples = by_row(columns)
    assert examples.labels.tolist() == [1, 1]
    assert [vectors[TEXT][0] for vectors in examples.vectors(columns)] == [2, 5]
    assert [vectors[AUDIO][0] for vectors in examples.vectors(columns)] == [2, 5]


def test_rows_that_have_not_everything_join_into_nothing() -> None:
    """Not into an error."""
    columns = {TEXT: column([0], [0]), AUDIO: column([0], [1])}
    examples = by_row(columns)
    assert (len(examples.labels), examples.vectors(columns)) == (0, [])


def test_the_judged_set_is_drawn_by_its_recipe() -> None:
    """One generator of seed 0; of each modality 200 inputs of each class, with replacement."""
    columns = {m: column(np.random.default_rng(5).integers(3, size=90)) for m in Modality}
    drawn = draw(columns, ("anger", "joy", "sadness"), 200)
    rng = np.random.default_rng(0)
    for modality in (TEXT, IMAGE, AUDIO):
        of_class = [np.flatnonzero(columns[modality].labels == number) for number in range(3)]
        expected = [row for rows in of_class for row in rng.choice(rows, 200)]
        assert drawn[modality].tolist() == expected


def test_joined_parts_are_of_one_class() -> None:
    """So many of each class, whatever its part in the columns."""
    columns = {TEXT: column([1, 1, 0, 1]), AUDIO: column([0, 1])}
    drawn = draw(columns, ("glad", "sad"), 3)
    examples = by_class(columns, drawn)
    assert examples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert columns[AUDIO].labels[drawn[AUDIO]].tolist() == [0, 0, 0, 1, 1, 1]
    assert by_class({AUDIO: columns[AUDIO]}, drawn).inputs.keys() == {AUDIO}


def test_the_fewest_groups_say_how_much_joined_examples_tell() -> None:
    """Two speakers, and not the many texts that are joined with them."""
    columns = {TEXT: column([0, 0, 1, 1]), AUDIO: column([0, 0, 1, 1], group="speaker ")}
    examples = by_class(columns, draw(columns, ("glad", "sad"), 4))
    assert set(examples.groups) == {"speaker 0", "speaker 1"}


def test_a_class_that_a_modality_lacks_is_named() -> None:
    """Nothing could be joined with it."""
    with pytest.raises(TrainingError, match="no audio of the class 'sad'"):
        draw({TEXT: column([0, 1]), AUDIO: column([0, 0])}, ("glad", "sad"), 2)


def test_an_input_without_a_group_is_one_of_its_own() -> None:
    """Beside those that belong together."""
    made = column_of(
        rows("a", "b", "a", groups=["x", "x"]), ("a", "b"), [0, 1, 2], np.zeros((3, 1))
    )
    assert made.labels.tolist() == [0, 1, 0]
    assert made.groups[0] == made.groups[1] != made.groups[2]


def test_inputs_of_one_group_are_told_apart() -> None:
    """No other speaker is there, but each clip counts once."""
    made = column_of(rows("a", "a", groups=["x", "x"]), ("a",), [0, 1], np.zeros((2, 1)))
    assert len(set(made.groups)) == 2


def test_a_stratified_choice_has_the_classes_of_all() -> None:
    """As frequent as they are, and never more than there are."""
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    chosen = stratified(labels, 20)
    assert np.bincount(labels[chosen]).tolist() == [12, 6, 2]
    assert np.array_equal(stratified(labels, 500), np.arange(100))
    assert np.array_equal(chosen, stratified(labels, 20))
