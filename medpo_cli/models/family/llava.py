"""LLaVA, LLaVA-NeXT, LLaVA-OneVision: CLIP or SigLIP tower, projector, any causal language model."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Llava(Family):
    """``pixel_values`` [images, 3, H, W], or [images, tiles, 3, H, W] with ``image_sizes`` [images, 2].

    One position axis. OneVision also has ``batch_num_images`` [prompts]: several images are not cut into tiles.
    """

    name = "llava"
    model_types: ClassVar[frozenset[str]] = frozenset({"llava", "llava_next", "llava_onevision"})
    tree_masks = True
