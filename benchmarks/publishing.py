"""Puts tables and charts into docs/benchmarks.md, between its two marks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.charts import ALT

BEGIN: Final = "<!-- figures: written by `python -m benchmarks --publish` -->"
END: Final = "<!-- end of figures -->"


def publish(text: str, charts: Iterable[Path], page: Path) -> None:
    """Replace what stands between the marks; ValueError where the page has none."""
    images = [f"![{ALT[chart.stem]}]({chart.relative_to(page.parent)})" for chart in charts]
    figures = "\n\n".join([text.strip(), *images])
    page.write_text(replaced(page.read_text(encoding="utf-8"), figures), encoding="utf-8")


def replaced(page: str, text: str) -> str:
    """The page with another text between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} and {END} in it")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
