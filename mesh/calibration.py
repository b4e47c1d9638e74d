"""How fast an encoder is, and from which size on larger batches, and parts of them, don't help.

Both are measured, since they depend on network, engine and processor alike.
Times are read from a clock: of the wall, or of the process's own work where several nodes that
start together share the cores.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mesh.encoding import Encoder, Raw
from mesh.engine import is_on_one_thread
from mesh.settings import NodeSettings

# Seconds in which a calibration looks for sizes; the batch that is running then is the last one.
BUDGET: Final = 0.4
# Each size runs so many times, and its best time counts: what else the machine does only adds.
RUNS: Final = 3
# Sizes that are compared run more often, and in turns: on a shared processor the same work takes a
# fifth longer for a second or two, which must not befall one size alone.
TURNS: Final = 5
# A larger batch must save this share of the time per item, or it only makes others wait: on two
# cores by 16 clients the mesh answers 3 to 7 % more than with larger ones that save the last 3 %.
# So must a larger part, or it only takes memory and pads more.
GAIN: Final = 0.05
# Seconds that a batch counts beyond the model alone, which has its caches for itself here. Each is
# a call of gRPC, changes of thread, and weights that come from memory again when other models had
# the core meanwhile; and the fewer requests it holds, the fewer go on together, to fusion and, as
# their senders' next ones, to all encoders. With batches of 3, 6 and 8 sounds on two cores a
# request took all processes 28.8, 26.5 and 26 ms: some 12 ms a batch. A quarter of that counts,
# since a larger batch makes others wait: with 6, 9 and 12 sounds, each a part, it took as long.
PER_BATCH: Final = 0.003
# The batch by which engines are compared.
COMPARED: Final = 4


Clock = Callable[[], float]


def clock_of(settings: NodeSettings) -> Clock:
    """On one thread the two agree, but for what other processes take of the core."""
    return time.process_time if is_on_one_thread(settings) else time.perf_counter


class Costs(NamedTuple):
    """The best limits of batches and of their parts, in the unit of `Item.size`."""

    batch: float
    micro_batch: float


def seconds_per_item(encoder: Encoder[Any], clock: Clock) -> float:
    """In a batch of a few of the encoder's examples, once warm."""
    return _measured([encoder.preprocess(encoder.example)] * COMPARED, encoder, clock)


def usual(raws: Sequence[Raw], encoder: Encoder[Any]) -> Raw:
    """Of these inputs the one in the middle by size, or the larger of the two there."""
    return sorted(raws, key=lambda raw: float(encoder.preprocess(raw).size))[len(raws) // 2]


def core_seconds(raw: Raw, encoder: Encoder[Any]) -> float:
    """What an input takes of a core, from its bytes to its embedding, in a batch of its own."""
    return min(_encoded(raw, encoder) for _ in range(RUNS))


def best_costs(raw: Raw, encoder: Encoder[Any], clock: Clock, items: int | None = None) -> Costs:
    """The smallest part whose items take nearly the least time, and batch of such parts.

    Parts are measured, of one input: of short ones, only large parts are worth their cost. By
    default they are those of a CPU, within the encoder's own limit, as far as a little time goes.
    With `items` they are of a device of its own, have so many at most, and a batch is one part.
    """
    item = encoder.preprocess(raw)
    most = items or max(1, int(encoder.max_batch_size // item.size))
    counts = _powers(most) if items else _in_time(_powers(most))
    seconds = _seconds_by_count(item, counts, encoder, clock)
    part = _smallest(seconds)
    if items:
        return Costs(float(item.size * part), float(item.size * part))
    calls = {count: seconds[part] + PER_BATCH / count for count in _powers(most) if count >= part}
    return Costs(float(item.size * _smallest(calls)), float(item.size * part))


def _seconds_by_count(
    item: Any, counts: Iterable[int], encoder: Encoder[Any], clock: Clock
) -> dict[int, float]:
    """Of one item in parts of so many, that come after another part like them."""
    parts = []
    for count in counts:
        parts.append([item] * count)
        encoder.forward(parts[-1])  # What is made for a new size is made once.
    turns = [[_timed_again(part, encoder, clock) for part in parts] for _ in range(TURNS)]
    return {
        len(part): min(seconds) / len(part)
        for part, seconds in zip(parts, zip(*turns, strict=True), strict=True)
    }


def _smallest(seconds: Mapping[int, float]) -> int:
    """The least count of those with nearly the least time."""
    enough = min(seconds.values()) * (1 + GAIN)
    return min(count for count, each in seconds.items() if each <= enough)


def _powers(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`."""
    return [1 << power for power in range(most.bit_length())]


def _in_time(counts: Iterable[int]) -> Iterator[int]:
    """The first, and further ones as long as the time to look for sizes lasts."""
    end = time.monotonic() + BUDGET
    for count in counts:
        if count > 1 and time.monotonic() >= end:
            return
        yield count


def _measured(batch: Sequence[Any], encoder: Encoder[Any], clock: Clock) -> float:
    """Seconds per item."""
    encoder.forward(batch)  # What is made for a new size is made once.
    return min(_timed(batch, encoder, clock) for _ in range(RUNS)) / len(batch)


def _encoded(raw: Raw, encoder: Encoder[Any]) -> float:
    started = time.process_time()  # Of all threads, and not while other nodes have the cores.
    encoder.forward([encoder.preprocess(raw)])
    return time.process_time() - started


def _timed_again(batch: Sequence[Any], encoder: Encoder[Any], clock: Clock) -> float:
    """Without what an engine does where the shape changes."""
    encoder.forward(batch)
    return _timed(batch, encoder, clock)


def _timed(batch: Sequence[Any], encoder: Encoder[Any], clock: Clock) -> float:
    started = clock()
    encoder.forward(batch)
    return clock() - started
