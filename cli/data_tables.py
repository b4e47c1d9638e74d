"""Defects, figures and builders' accounts as they are shown in a terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from training.built import Built
from training.examine import Defect
from training.manifest import SPLITS
from training.stats import Statistics

NO_SPLIT = "no split"


def defects_table(defects: Sequence[Defect]) -> RenderableType:
    """A row for each, and how many they are."""
    table = _table("line", "column", "defect")
    table.columns[0].justify = "right"
    for defect in defects:
        line = str(defect.line) if defect.line else ""
        table.add_row(*map(Text, (line, defect.column, defect.message)))
    return Group(table, Text(f"defects: {len(defects):,}", style="bold red"))


def statistics_tables(found: Statistics) -> RenderableType:
    """Everything but what is not there."""
    return Group(
        Text(f"{found.rows:,} rows", style="bold"),
        _by_split(found),
        *_counts("modalities", found.coverage),
        *_counts("together", _named(found.combinations)),
        *_sizes(found),
        *([Text(f"{found.unreadable:,} unreadable files", "red")] if found.unreadable else []),
    )


def built_table(built: Built) -> RenderableType:
    """How many rows of what, and what was left out for which reason."""
    parts = [*_counts("rows", built.kept), *_counts("left out", built.left_out)]
    return Group(*parts, Text(f"The manifest is {built.manifest}"))


def _by_split(found: Statistics) -> Table:
    """A row for each class, then groups and duplicates; a column for each split."""
    splits = sorted({split for split, _ in found.classes}, key=_order)
    table = _numbers("class", *(split or NO_SPLIT for split in splits))
    for label in sorted({label for _, label in found.classes}):
        _add(table, label or "no label", [found.classes[split, label] for split in splits])
    table.add_section()
    if found.groups:
        _add(table, "groups", [found.groups[split] for split in splits])
    for column in found.coverage:
        _add(table, f"same {column} again", [found.duplicates[s, column] for s in splits])
    return table


def _order(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def _named(combinations: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    return {" + ".join(names) or "nothing": count for names, count in combinations.items()}


def _counts(title: str, counts: Mapping[str, int]) -> Iterator[Table]:
    if counts:
        table = _numbers(title, "")
        for name, count in counts.items():
            _add(table, name, [count])
        yield table


def _sizes(found: Statistics) -> Iterator[Table]:
    if found.sizes:
        table = _numbers("size", "median", "max")
        for name, spread in found.sizes.items():
            table.add_row(Text(name), f"{spread.median:,.5g}", f"{spread.max:,.5g}")
        yield table


def _add(table: Table, name: str, counts: Iterable[int]) -> None:
    table.add_row(Text(name), *(f"{count:,}" for count in counts))


def _numbers(first: str, *columns: str) -> Table:
    table = _table(first, *columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name)
    return table
