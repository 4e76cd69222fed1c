"""Mistral 3 (Mistral Small 3.1 and later): Pixtral tower for images of any size, one position axis."""

from typing import ClassVar

from torch import Tensor

from medpo_cli.models.family import grids
from medpo_cli.models.family.base import EncodedPrompt, Family, patch_side


class Mistral3(Family):
    """``pixel_values`` [images, 3, H, W] with ``image_sizes`` [images, 2]; a break token ends each row of patches."""

    name = "mistral3"
    model_types: ClassVar[frozenset[str]] = frozenset({"mistral3"})
    tree_masks = True

    def pooled(self, prompt: EncodedPrompt, values: Tensor) -> Tensor:
        """Cells of the picture without its padding; break tokens are no image tokens."""
        sizes = [(int(height), int(width)) for height, width in prompt.vision["image_sizes"]]
        return grids.corner(values, sizes, self._side())

    def grid(self, prompt: EncodedPrompt) -> tuple[int, int] | None:
        """Rows and columns of one picture of any size."""
        sizes = prompt.vision["image_sizes"]
        return (int(sizes[0, 0]) // self._side(), int(sizes[0, 1]) // self._side()) if len(sizes) == 1 else None

    def _side(self) -> int:
        return patch_side(self.model) * int(self.model.config.spatial_merge_size)
