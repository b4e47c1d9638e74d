"""What a config names: one of several ways, each under its own name."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Choices(dict[str, T], Generic[T]):
    """The ways by their names. To ask for another one is a ValueError that lists them."""

    def __init__(self, kind: str, **ways: T) -> None:
        super().__init__(ways)
        self.kind = kind

    def __missing__(self, name: str) -> T:
        raise ValueError(f"the {self.kind} {name!r} is none of {', '.join(self)}")
