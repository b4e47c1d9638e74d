"""What an evaluation found, as report.json for programs and report.html for people.

The same findings give the same bytes. The page is one file: its plots are inside, and it asks
nobody for anything.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training import plots
from training.curves import Curve
from training.metrics import RESAMPLES, Scores

# Figures beyond these differ from one machine to the next.
DIGITS: Final = 6


@dataclass(frozen=True)
class Report:
    """All findings. Sets of modalities are named "text+image".

    `subsets` are scored on joined examples, `natural` is each modality alone on all of its inputs.
    `unscored` are the subsets that no row has. `drawn` counts the distinct inputs and groups of
    each modality where examples are joined by class, and `note` is then what to know of that.
    `fusions` are the scores of other strategies on the subsets' examples.
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    join: str
    note: str
    drawn: Mapping[str, Mapping[str, int]]
    subsets: Mapping[str, Scores]
    natural: Mapping[str, Scores]
    unscored: tuple[str, ...] = ()
    robustness: tuple[Curve, ...] = ()
    fusions: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)


def write_report(report: Report, folder: Path) -> None:
    """Write both files into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(as_json(report), encoding="utf-8")
    (folder / "report.html").write_text(as_html(report), encoding="utf-8")


def as_json(report: Report) -> str:
    """The report's fields, the figures in them rounded."""
    return json.dumps(_rounded(asdict(report)), indent=2, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def as_html(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["spaced"] = _spaced
    template = environment.get_template("report.html.j2")
    return template.render(
        report=report,
        f1={_spaced(name): scores.macro_f1 for name, scores in report.subsets.items()},
        sets=_sets(report),
        declines=_declines(report),
        plots=plots,
        resamples=RESAMPLES,
    )


def _spaced(name: str) -> str:
    """ "text+image" as people write it."""
    return name.replace("+", " + ")


def _sets(report: Report) -> dict[str, Scores]:
    """All sets of examples, by their headings. One modality's natural set may be its subset."""
    natural = {f"{name} alone, natural set": scores for name, scores in report.natural.items()}
    return {_spaced(name): scores for name, scores in report.subsets.items()} | natural


def _declines(report: Report) -> dict[str, list[Curve]]:
    """The curves of each modality."""
    modalities = dict.fromkeys(curve.modality for curve in report.robustness)
    return {
        modality: [curve for curve in report.robustness if curve.modality == modality]
        for modality in modalities
    }
