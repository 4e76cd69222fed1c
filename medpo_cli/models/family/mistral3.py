"""Mistral 3 (Mistral Small 3.1 and later): Pixtral tower for images of any size, one position axis."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Mistral3(Family):
    """``pixel_values`` [images, 3, H, W] with ``image_sizes`` [images, 2]; a break token ends each row of patches."""

    name = "mistral3"
    model_types: ClassVar[frozenset[str]] = frozenset({"mistral3"})
    tree_masks = True
