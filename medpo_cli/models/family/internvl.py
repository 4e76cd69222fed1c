"""InternVL (transformers' own ``internvl``): images in tiles, pixel shuffle, one position axis."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class InternVL(Family):
    """``pixel_values`` [tiles of all images, 3, H, W]; every tile becomes the same number of tokens."""

    name = "internvl"
    model_types: ClassVar[frozenset[str]] = frozenset({"internvl"})
    tree_masks = True
    stacked = True
