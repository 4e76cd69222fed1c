"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL and GLM-4V: images of any size, three position axes (M-RoPE)."""

from typing import ClassVar

import torch
from torch import Tensor

from medpo_cli.models.family import grids
from medpo_cli.models.family.base import EncodedPrompt, Family


class QwenVL(Family):
    """``pixel_values`` [patches of all images, values] with ``image_grid_thw`` [images, 3].

    An image occupies ``max(height, width)`` positions however many tokens it has, so that positions after it
    must come from the model's own ``get_rope_index``; a tail goes on from the largest one.
    """

    name = "qwen_vl"
    model_types: ClassVar[frozenset[str]] = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v"})
    position_axes = 3
    tree_masks = True

    def images_in(self, prompt: EncodedPrompt) -> int:
        """One entry for each row of the grid."""
        return int(prompt.vision["image_grid_thw"].shape[0]) if prompt.vision else 0

    def positions(self, prompt: EncodedPrompt, length: int) -> Tensor:
        """Positions [3, length]: time, height, width."""
        head, _ = self.model.model.get_rope_index(
            prompt.input_ids[None],
            mm_token_type_ids=prompt.image_positions[None].int(),
            image_grid_thw=prompt.vision.get("image_grid_thw"),
        )
        tail = head.max() + 1 + torch.arange(length - len(prompt))
        return torch.cat([head[:, 0], tail.expand(3, -1)], dim=1)

    def pooled(self, prompt: EncodedPrompt, values: Tensor) -> Tensor:
        """Patches stand in the order in which they are merged, ``spatial_merge_size`` squared for a token."""
        return grids.merged(values, self._merge() ** 2)

    def grid(self, prompt: EncodedPrompt) -> tuple[int, int] | None:
        """The grid of patches over ``spatial_merge_size``, of one still picture."""
        sizes = prompt.vision["image_grid_thw"]
        if len(sizes) != 1 or int(sizes[0, 0]) != 1:
            return None
        return int(sizes[0, 1]) // self._merge(), int(sizes[0, 2]) // self._merge()

    def _merge(self) -> int:
        return int(self.model.config.vision_config.spatial_merge_size)
