"""What a node computes before it is ready, so that it neither grows nor is slow when many come."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np

from mesh.classifying import Classifier
from mesh.encoding import Encoder, Item
from mesh.engine import is_on_cpu
from mesh.head import padded
from mesh.micro_batching import batch_limits, forward, micro_batch_limits
from mesh.settings import NodeSettings


def warm_up(encoder: Encoder[Any], item: Item, settings: NodeSettings) -> None:
    """Compute a full batch in its parts; the memory for one is there from now on.

    On a CPU further workers begin later, and prepare themselves.
    """
    full = [item] * batch_limits(encoder, settings).fit(item.size)
    micro = micro_batch_limits(encoder, settings)
    workers = 1 if is_on_cpu(settings) else settings.workers
    ready = Barrier(workers)

    def compute() -> None:
        ready.wait()
        forward(encoder, full, micro)

    with ThreadPoolExecutor(workers) as threads:
        for done in [threads.submit(compute) for _ in range(workers)]:
            done.result()


def warm_up_head(classifier: Classifier, settings: NodeSettings) -> None:
    """Compute a batch of each size that there will be."""
    example = {m: np.zeros(e.dim, np.float32) for m, e in classifier.encoders.items()}
    most = settings.max_batch
    for size in sorted({padded(count, most) for count in range(1, most + 1)}):
        classifier.classify([example] * size)
