"""What an engine can be told, without importing one.

Memory that several processes share counts in parts: torch in the process that measures would make
all others lighter.
"""

from dataclasses import dataclass
from itertools import product
from typing import Final, get_args

from mesh.settings import NodeSettings

# What is no choice of its own or not for a CPU, what is no faster on one than float32, and what
# there isn't.
LEFT_OUT: Final = ("auto", "cuda_graphs", "float16", "torch int8", "torch int8_dynamic")


@dataclass(frozen=True, slots=True)
class Setup:
    """An engine, its dtype, the threads of one process, and the device."""

    engine: str = "torch"
    dtype: str = "float32"
    threads: int = 0
    device: str = "cpu"

    @property
    def name(self) -> str:
        """As people and tables have it."""
        return f"{self.engine} {self.dtype}" + (f", {self.device}" if self.device != "cpu" else "")

    @property
    def settings(self) -> NodeSettings:
        """As a node would have them."""
        return NodeSettings.model_validate(
            {
                "engine": self.engine,
                "dtype": self.dtype,
                "threads": self.threads,
                "devices": self.device,
            }
        )


# What a GPU is measured by, where there is one.
ON_GPU: Final = tuple(
    Setup(engine, dtype, device="cuda:0")
    for engine in ("torch", "cuda_graphs")
    for dtype in ("float32", "float16")
)


def setups() -> list[Setup]:
    """Every engine with every dtype that a processor may be good at. Some may not be had here."""
    choices = (get_args(NodeSettings.model_fields[name].annotation) for name in ("engine", "dtype"))
    named = ([choice for choice in choice if choice not in LEFT_OUT] for choice in choices)
    found = [Setup(engine, dtype) for engine, dtype in product(*named)]
    return [setup for setup in found if setup.name not in LEFT_OUT]
