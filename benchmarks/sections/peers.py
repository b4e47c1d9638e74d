"""Peers: the mesh beside other servers of the same model, and beside the ceiling."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.bench import CONNECTIONS, Bench, Best
from benchmarks.contenders import Contender, Serving, documented, require_answer
from benchmarks.contest import CEILING, Contest, Turn, blamed_turns, blaming, fast_contenders
from benchmarks.load import Closed, Target, closed_loop, half_repeating
from benchmarks.turns import Figures


def run(bench: Bench) -> None:
    """In every round the fast ones side by side, then each for itself."""
    contenders = fast_contenders(bench)
    ways = [(way, bench.parts(way.setup)) for way in (bench.best, bench.quickest)]
    contest = Contest(bench)
    for _ in range(bench.plan.runs):
        contest.add(contenders, partial(side_by_side, ways))
        for contender in contenders:
            contest.add([contender], memory)
        for contender in documented(bench.folder):
            contest.add([contender], alone)


def side_by_side(
    ways: Sequence[tuple[Best, dict[str, float]]],
    contest: Contest,
    contenders: Sequence[Contender],
) -> Figures:
    """All are started, then take turns of seconds, so that the machine's moods meet all of them.

    `ways`, and their parts, are the ceiling's for throughput and for one client.
    """
    bench = contest.bench
    with ExitStack() as stack:
        all_cores, soonest = (
            stack.enter_context(bench.ceiling(way.setup, way.processes, parts))
            for way, parts in ways
        )
        served = stack.enter_context(contest.all_serving(contenders))

        def of_all(figures: Callable[[Target, float], Figures]) -> dict[str, Turn]:
            return {name: partial(_awake, figures, *one) for name, one in served.items()}

        def rate(seconds: float) -> Figures:
            found = all_cores.measure(ways[0][0].batch, seconds)
            return {("throughput", "requests/s"): found["rate"]}

        def latency(seconds: float) -> Figures:
            return {("one client", "ms"): 1000 * soonest.measure(1, seconds / 2)["median"]}

        return {
            **blamed_turns({CEILING: rate, **of_all(_busy)}, bench.plan),
            **blamed_turns({CEILING: latency, **of_all(_one_client)}, bench.plan),
            **blamed_turns(of_all(_half_repeats), bench.plan),
        }


def _awake(
    figures: Callable[[Target, float], Figures], serving: Serving, target: Target, seconds: float
) -> Figures:
    with serving.awake():
        return figures(target, seconds)


def _busy(target: Target, seconds: float) -> Figures:
    found = closed_loop(target, Closed(CONNECTIONS, seconds))
    return {
        ("throughput", "requests/s"): found.rate,
        ("the generator's CPU", "cores"): found.cpu,
    }


def _one_client(target: Target, seconds: float) -> Figures:
    return {("one client", "ms"): 1000 * closed_loop(target, Closed(1, seconds / 2)).p50}


def _half_repeats(target: Target, seconds: float) -> Figures:
    return {("half repeats", "requests/s"): half_repeating(target, CONNECTIONS, seconds).rate}


def memory(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """Of one that others were measured beside: what it shares with them would count in parts."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        _busy(target, seconds)
        _half_repeats(target, seconds / 2)  # Caches have something to remember, too.
        return _weighed(contender, serving, target)


def alone(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """All figures of one that is too slow for turns."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        found = _busy(target, seconds) | _one_client(target, seconds)
        named = {
            (f"{contender.name}: {name}", unit): value for (name, unit), value in found.items()
        }
        return named | _weighed(contender, serving, target)


def _weighed(contender: Contender, serving: Serving, target: Target) -> Figures:
    require_answer(serving.url, target.bodies)  # One whose workers have just ended weighs little.
    return {(f"{contender.name}: memory", "MiB"): serving.memory()}
