"""What can go wrong in training by the fault of its inputs; commands print it without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

from mesh.errors import MeshError


class TrainingError(Exception):
    """Something that the user gave can't be used. The message says what, where and why."""


@contextmanager
def told() -> Iterator[None]:
    """End a script with the message alone, where something that the user gave can't be used."""
    try:
        yield
    except (TrainingError, MeshError) as error:
        raise SystemExit(str(error)) from None
