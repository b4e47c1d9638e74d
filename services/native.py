"""Lets torchvision and torchaudio be imported where their native libraries don't load.

Next to a CPU build of torch, pip may install torchvision and torchaudio as CUDA builds. Their
libraries then miss CUDA's, and `import torchvision` (with it `transformers`) and `import
torchaudio` fail, although we only use their Python parts. Where the libraries load, nothing is
done here. `services/__init__.py` calls `cure_when_needed`, so it runs before any module of
services. Nothing is done, nor torch imported, until one of the two is looked for.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

COMPANIONS: Final = ("torchvision", "torchaudio")

# torchvision describes these two operators to torch.compile while it is imported, which needs
# their schemas to exist. We never call them.
_TORCHVISION_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A library's definitions live only as long as the object that made them.
_definitions: list[Any] = []


class _Cure(MetaPathFinder):
    """Finds nothing; cures once, when one of COMPANIONS is looked for.

    It stays among the finders: were it to leave while Python goes through them, the one behind it
    would be passed over.
    """

    def __init__(self) -> None:
        self._is_done = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """None: whoever comes next finds the module."""
        if name in COMPANIONS and not self._is_done:
            self._is_done = True  # Before, since the cure looks for both itself.
            cure_imports()


def cure_when_needed() -> None:
    """Call `cure_imports` just before one of COMPANIONS is imported, by whomever."""
    sys.meta_path.insert(0, _Cure())


def cure_imports() -> None:
    """Stand in for each of the two libraries that is installed and can't be loaded."""
    if _is_broken("torchvision", "_C*.so"):
        _define_torchvision_schemas()
    if _is_broken("torchaudio", "lib/_torchaudio*.so"):
        _replace_torchaudio_loader()


def _is_broken(package: str, pattern: str) -> bool:
    spec = importlib.util.find_spec(package)  # finds it without importing it
    if package in sys.modules or spec is None or spec.origin is None:
        return False
    return not all(_loads(library) for library in Path(spec.origin).parent.glob(pattern))


def _loads(library: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


def _define_torchvision_schemas() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _TORCHVISION_SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _definitions.append(library)


def _replace_torchaudio_loader() -> None:
    """Put in place of the module that loads the library what it holds when there is none."""
    loader: Any = ModuleType("torchaudio._extension")
    loader._IS_TORCHAUDIO_EXT_AVAILABLE = False
    loader.fail_if_no_align = lambda function: function
    sys.modules[loader.__name__] = loader
