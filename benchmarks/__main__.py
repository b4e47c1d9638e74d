"""`python -m benchmarks`: run sections, keep their figures, show all that is known."""

import signal
import sys
import time
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from benchmarks import charts
from benchmarks.bench import Bench, Plan, commit
from benchmarks.inputs import ROOT
from benchmarks.load import require_generator
from benchmarks.machine import BUSY, describe
from benchmarks.processes import BenchError, adopt_orphans
from benchmarks.publishing import publish
from benchmarks.results import Results
from benchmarks.sections import SECTIONS
from benchmarks.table import markdown

FOLDER: Final = ROOT / "run/bench"
PAGE: Final = ROOT / "docs/benchmarks.md"
CHARTS: Final = ROOT / "docs/benchmarks"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--quick", is_flag=True, help="Only to see that all works; figures of its own.")
@click.option("--runs", type=click.IntRange(min=1), help="Runs of each figure.  [default: 3]")
@click.option("--anew", is_flag=True, help="Also what an interrupted run has measured already.")
@click.option("--show", is_flag=True, help="Measure nothing, only show what is known.")
@click.option("--publish", "into_docs", is_flag=True, help="Write docs/benchmarks.md's figures.")
def main(
    sections: Sequence[str],
    quick: bool,
    runs: int | None,
    anew: bool,
    show: bool,
    into_docs: bool,
) -> None:
    """Measure SECTIONS, or all, and add them to what is known of others.

    Figures are kept in run/bench/results.json, those of --quick in quick.json beside it. A run that
    was interrupted goes on, as long as nothing was committed meanwhile.
    """
    results, plan = (
        Results(FOLDER / ("quick.json" if quick else "results.json")),
        Plan.of(quick, runs),
    )
    chosen = sections or left(results, plan, commit(), anew)
    failed = [] if show else _measure(chosen, plan, results)
    text = markdown(results)
    click.echo(text)
    drawn = charts.draw(results, CHARTS if into_docs else FOLDER)
    click.echo(f"Charts: {', '.join(map(str, drawn))}")
    if into_docs:
        publish(text, drawn, PAGE)
    sys.exit(f"Not measured: {', '.join(failed)}" if failed else 0)


def left(results: Results, plan: Plan, state: str, anew: bool) -> list[str]:
    """The sections that an interrupted run has not measured yet; all where none was interrupted."""
    missing = [
        name
        for name in SECTIONS
        if name not in results.sections or not results.sections[name].is_of(plan.plain(), state)
    ]
    return list(SECTIONS) if anew or not missing else missing


def _measure(names: Sequence[str], plan: Plan, results: Results) -> list[str]:
    """Run sections one after the other; those that failed, which does not stop the others."""
    try:
        require_generator()
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    adopt_orphans()
    signal.signal(signal.SIGTERM, _stop)  # Else what was started would not be ended.
    return [name for name in names if not _run(name, plan, results)]


def _run(name: str, plan: Plan, results: Results) -> bool:
    machine = describe() | {"commit": commit()}
    if (busy := machine["cores busy before"]) > BUSY:
        click.echo(f"The machine is busy ({busy} cores): don't trust the figures.")
    click.echo(f"{name} ...")
    record = results.begin(name, machine, plan.plain())
    start = time.monotonic()
    try:
        SECTIONS[name](Bench(plan, FOLDER, results, record, click.echo))
    except BenchError as error:
        record.fact("failed", str(error).replace(f"{ROOT}/", ""))
        click.echo(f"{name} failed: {error}", err=True)
        return False
    record.fact("seconds", round(time.monotonic() - start))
    return True


def _stop(*_: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
