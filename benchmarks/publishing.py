"""Puts the tables into docs/benchmarks.md, between its two marks."""

from pathlib import Path
from typing import Final

BEGIN: Final = "<!-- figures: written by `python -m benchmarks --publish` -->"
END: Final = "<!-- end of figures -->"


def publish(text: str, page: Path) -> None:
    """Replace what stands between the marks; ValueError where the page has none."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), text), encoding="utf-8")


def replaced(page: str, text: str) -> str:
    """The page with another text between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} and {END} in it")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
