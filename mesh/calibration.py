"""How fast an encoder is, and from which size on larger batches don't make it faster.

Both are measured, since they depend on network, engine and processor alike.
Times are read from a clock: of the wall, or of the process's own work where several nodes that
start together share the cores.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from mesh.encoding import Encoder, Raw

# Seconds in which a calibration looks for sizes; the batch that is running then is the last one.
BUDGET: Final = 0.4
# Each size runs so many times, and its best time counts: what else the machine does only adds.
RUNS: Final = 3
# Sizes that are compared run more often, and in turns: on a shared processor the same work takes a
# fifth longer for a second or two, which must not befall one size alone.
TURNS: Final = 5
# A larger batch must save this share of the time per item, or it only makes others wait: on two
# cores by 16 clients the mesh answers 3 to 7 % more than with larger ones that save the last 3 %.
GAIN: Final = 0.05
# Seconds that a batch counts beyond the model alone, which has its caches for itself here. Each is
# a call of gRPC, changes of thread, and weights that come from memory again when other models had
# the core meanwhile; and the fewer requests it holds, the fewer go on together, to fusion and, as
# their senders' next ones, to all encoders. With batches of 3, 6 and 8 sounds on two cores a
# request took all processes 28.8, 26.5 and 26 ms: some 12 ms a batch. Half of that counts, since a
# larger batch also makes others wait.
PER_BATCH: Final = 0.006
# The batch by which engines are compared.
COMPARED: Final = 4


Clock = Callable[[], float]


def seconds_per_item(encoder: Encoder[Any], clock: Clock) -> float:
    """In a batch of a few of the encoder's examples, once warm."""
    return _measured([encoder.preprocess(encoder.example)] * COMPARED, encoder, clock)


def usual(raws: Sequence[Raw], encoder: Encoder[Any]) -> Raw:
    """Of these inputs the one in the middle by size, or the larger of the two there."""
    return sorted(raws, key=lambda raw: float(encoder.preprocess(raw).size))[len(raws) // 2]


def core_seconds(raw: Raw, encoder: Encoder[Any]) -> float:
    """What an input takes of a core, from its bytes to its embedding, in a batch of its own."""
    return min(_encoded(raw, encoder) for _ in range(RUNS))


def best_batch_cost(
    raw: Raw, encoder: Encoder[Any], clock: Clock, items: int | None = None
) -> float:
    """The smallest batch, in the unit of `Item.size`, whose items take nearly the least time.

    It is measured on batches of one input: of short ones, only large batches are worth their cost.
    By default they are those of a CPU, within the encoder's own limit, as far as a little time
    goes. With `items` they are of a device of its own, have so many at most, and cost nothing else.
    """
    item = encoder.preprocess(raw)
    batches = []
    if items is None:
        counts, per_batch = _sizes(encoder, item.size), PER_BATCH
    else:
        counts, per_batch = (1 << power for power in range(items.bit_length())), 0.0
    for count in counts:
        batches.append([item] * count)
        encoder.forward(batches[-1])  # What is made for a new size is made once.
    turns = [[_timed(batch, encoder, clock) for batch in batches] for _ in range(TURNS)]
    times = {
        len(batch): (min(seconds) + per_batch) / len(batch)
        for batch, seconds in zip(batches, zip(*turns, strict=True), strict=True)
    }
    enough = min(times.values()) * (1 + GAIN)
    return float(item.size * min(count for count, seconds in times.items() if seconds <= enough))


def _sizes(encoder: Encoder[Any], size: float) -> Iterator[int]:
    """1, 2, 4, ... as far as the encoder's own limit and the time go."""
    end, items = time.monotonic() + BUDGET, 1
    while items == 1 or (items * size <= encoder.max_batch_size and time.monotonic() < end):
        yield items
        items *= 2


def _measured(batch: Sequence[Any], encoder: Encoder[Any], clock: Clock) -> float:
    """Seconds per item."""
    encoder.forward(batch)  # What is made for a new size is made once.
    return min(_timed(batch, encoder, clock) for _ in range(RUNS)) / len(batch)


def _encoded(raw: Raw, encoder: Encoder[Any]) -> float:
    started = time.process_time()  # Of all threads, and not while other nodes have the cores.
    encoder.forward([encoder.preprocess(raw)])
    return time.process_time() - started


def _timed(batch: Sequence[Any], encoder: Encoder[Any], clock: Clock) -> float:
    started = clock()
    encoder.forward(batch)
    return clock() - started
