"""What a builder of a manifest has done."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Built:
    """The manifest that was written, its rows by kind, and what was left out by the reason."""

    manifest: Path
    kept: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
