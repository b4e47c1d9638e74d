"""The networks that turn embeddings into a class, by the name that an artifact's config gives."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.fusion.attention import AttentionFusion, AttentionShape
from services.fusion.concat import ConcatFusion
from services.fusion.frame import Fusion, FusionShape
from services.fusion.gated import GatedFusion
from services.fusion.mean import MeanFusion

# Each builds from `dims`, `classes` and the config's `model`; ValueError for keys it doesn't know.
FUSIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], Fusion]]] = {
    "concat": lambda model: ConcatFusion(FusionShape.read(model)),
    "mean": lambda model: MeanFusion(FusionShape.read(model)),
    "attention": lambda model: AttentionFusion(AttentionShape.read(model)),
    "gated": lambda model: GatedFusion(FusionShape.read(model)),
}
