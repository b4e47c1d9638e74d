"""Faults that a user can mend, told in one line and without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def told() -> Iterator[None]:
    """What training and the mesh say of their inputs, and what is not installed for training."""
    try:
        from mesh.errors import MeshError
        from training.errors import TrainingError

        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'sensemesh[train]'") from None
    except (TrainingError, MeshError) as error:
        raise click.ClickException(str(error)) from None
