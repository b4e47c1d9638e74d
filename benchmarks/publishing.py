"""Puts tables and charts into docs/benchmarks.md, between its two marks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.charts import ALT

BEGIN: Final = "<!-- figures: written by `python -m benchmarks --publish` -->"
END: Final = "<!-- end of figures -->"


def publish(text: str, charts: Iterable[Path], page: Path) -> None:
    """Replace what stands between the marks; ValueError where the page has none.

    Flame graphs that lie beside the charts are shown, too.
    """
    flames = sorted((page.parent / "benchmarks").glob("flame-*.svg"))
    shown = [(ALT[chart.stem], chart) for chart in charts]
    shown += [(flame.stem.replace("-", " ").capitalize(), flame) for flame in flames]
    images = [f"![{alt}]({file.relative_to(page.parent)})" for alt, file in shown]
    figures = "\n\n".join([text.strip(), *images])
    page.write_text(replaced(page.read_text(encoding="utf-8"), figures), encoding="utf-8")


def replaced(page: str, text: str) -> str:
    """The page with another text between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} and {END} in it")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
