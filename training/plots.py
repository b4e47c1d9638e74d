"""The report's plots, as SVG that stands inside its page and takes the page's colour of text."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from training.curves import Curve
from training.metrics import Estimate, Scores

# Stands for the page's colour of text until the SVG is done; no plot has it as its own.
INK: Final = "#010203"
# Told from each other also by those who see few colours, after Okabe and Ito (2008), and seen on
# white and on black.
COLOURS: Final = ("#1e86c8", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS: Final = "os^Dvp"

STYLE: Final[Any] = {  # rc_context takes a dict whose keys are typed one by one.
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # Text stays text.
    "svg.hashsalt": "sensemesh",  # Else ids are random.
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def estimates(found: Mapping[str, Estimate], what: str) -> Markup:
    """One figure of several sets of examples, each with its interval."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot(xlabel=what, ylim=(len(found) - 0.5, -0.5))
        for place, estimate in enumerate(found.values()):
            axes.plot([estimate.low, estimate.high], [place, place], color=COLOURS[0], lw=2)
            axes.plot(estimate.value, place, "o", color=COLOURS[0])
        axes.set_yticks(range(len(found)), list(found))
        axes.grid(axis="x", color=INK, alpha=0.15)

    said = ", ".join(f"{name} {estimate.value:.3f}" for name, estimate in found.items())
    return _svg(f"{what}: {said}", (6.5, 0.6 + 0.28 * len(found)), draw)


def reliability(name: str, scores: Scores) -> Markup:
    """How often the examples of each confidence are right, over how many of them there are."""
    bins = [bin for bin in scores.bins if bin.count]

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], "--", color=INK, alpha=0.6, lw=1)
        upper.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o-", color=COLOURS[0])
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.03))
        widths = [b.high - b.low for b in bins]
        lower.bar(
            [b.low for b in bins], [b.count for b in bins], widths, align="edge", color=COLOURS[0]
        )
        lower.set(xlabel="confidence", ylabel="examples")

    said = f"expected calibration error {scores.ece.value:.3f} over {scores.examples} examples"
    return _svg(f"Reliability diagram of {name}: {said}", (2.7, 3.0), draw)


def decline(modality: str, curves: Sequence[Curve]) -> Markup:
    """Macro-F1 by severity, a line for each kind of corruption with its interval around it."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot(xlabel="severity", ylabel="macro-F1", ylim=(0, 1))
        for curve, colour, marker in zip(curves, COLOURS, MARKERS, strict=False):
            severities = [point.severity for point in curve.points]
            found = [point.macro_f1 for point in curve.points]
            axes.plot(severities, [f.value for f in found], f"{marker}-", color=colour)
            low, high = [f.low for f in found], [f.high for f in found]
            axes.fill_between(severities, low, high, color=colour, alpha=0.15, lw=0)
            axes.lines[-1].set_label(curve.kind)
        axes.set_xticks(severities)
        axes.legend()

    kinds = ", ".join(
        f"{curve.kind} from {curve.points[0].macro_f1.value:.3f}"
        f" to {curve.points[-1].macro_f1.value:.3f}"
        for curve in curves
    )
    return _svg(f"Macro-F1 of {modality} as it gets worse: {kinds}", (4.6, 3.0), draw)


def strategies(fusions: Mapping[str, Mapping[str, Scores]]) -> Markup:
    """Macro-F1 of each fusion strategy on each subset of modalities."""
    subsets = list(dict.fromkeys(subset for found in fusions.values() for subset in found))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot(xlabel="macro-F1", ylim=(len(subsets) - 0.5, -0.5))
        for number, (name, found) in enumerate(fusions.items()):
            places = [subsets.index(subset) + _offset(number, len(fusions)) for subset in found]
            values = [scores.macro_f1.value for scores in found.values()]
            style: Any = {"marker": MARKERS[number % len(MARKERS)], "ls": "", "label": name}
            axes.plot(values, places, color=COLOURS[number % len(COLOURS)], **style)
        axes.set_yticks(range(len(subsets)), [subset.replace("+", " + ") for subset in subsets])
        axes.grid(axis="x", color=INK, alpha=0.15)
        figure.legend(loc="outside upper center", ncols=len(fusions))

    names = ", ".join(fusions)
    return _svg(f"Macro-F1 of {names} on each subset", (6.5, 1.1 + 0.4 * len(subsets)), draw)


def _offset(number: int, count: int) -> float:
    """How far from a row's middle one of several dots stands, so that none hides another."""
    return 0.6 * ((number + 0.5) / count - 0.5)


def _svg(alt: str, inches: tuple[float, float], draw: Callable[[Figure], None]) -> Markup:
    """The drawing as an <svg> that reads `alt` aloud, its ids like no other drawing's."""
    file = StringIO()
    with rc_context(STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    own = hashlib.sha256(alt.encode()).hexdigest()[:8]
    svg = re.sub(r'( id="|"#|url\(#)', rf"\g<1>{own}-", svg)
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))
