"""By what a service's answers tell its replicas apart."""

import secrets
from collections.abc import Iterator
from itertools import cycle


def replica_numbers(devices: int) -> Iterator[int]:
    """For each answer the number of one of a node's devices, in turn; never 0, which says none."""
    return cycle([1 + secrets.randbelow(2**64 - 1) for _ in range(devices)])
