"""The machine that figures are of, and whether it had anything else to do."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

PACKAGES: Final = ("torch", "openvino", "numpy", "granian", "flask", "grpcio")
# Cores that others keep busy, from which on a machine is not quiet.
BUSY: Final = 0.25
# Seconds over which that is measured, for the average of a minute would be of our own last section.
LOOK: Final = 1.0


def describe() -> dict[str, Any]:
    """Processor, cores, memory, kernel, versions, and what else it did just before."""
    cores = len(os.sched_getaffinity(0))
    return {
        "processor": _processor(),
        "cores": cores,
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "cores busy before": round(psutil.cpu_percent(LOOK) / 100 * cores, 2),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    named = fields.get("model name", platform.machine())
    return f"{named}, family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
