"""LLaVA and LLaVA-NeXT: CLIP or SigLIP tower, projector, any causal language model; one position axis."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Llava(Family):
    """``pixel_values`` [images, 3, H, W], or [images, tiles, 3, H, W] with ``image_sizes`` [images, 2] (NeXT)."""

    name = "llava"
    model_types: ClassVar[frozenset[str]] = frozenset({"llava", "llava_next"})
    tree_masks = True
