"""LLaVA: CLIP or SigLIP tower, projector, any causal language model; one position axis."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Llava(Family):
    """``pixel_values`` [images, 3, H, W]; every image becomes the same number of tokens."""

    name = "llava"
    model_types: ClassVar[frozenset[str]] = frozenset({"llava"})
    tree_masks = True
