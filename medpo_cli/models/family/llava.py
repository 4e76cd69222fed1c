"""LLaVA, LLaVA-NeXT, LLaVA-OneVision: CLIP or SigLIP tower, projector, any causal language model."""

from typing import ClassVar

import torch
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from medpo_cli.models.family import grids
from medpo_cli.models.family.base import EncodedPrompt, Family, patch_side


class Llava(Family):
    """``pixel_values`` [images, 3, H, W], or [images, tiles, 3, H, W] with ``image_sizes`` [images, 2].

    One position axis. OneVision also has ``batch_num_images`` [prompts]: several images are not cut into tiles.
    """

    name = "llava"
    model_types: ClassVar[frozenset[str]] = frozenset({"llava", "llava_next", "llava_onevision"})
    tree_masks = True

    def pooled(self, prompt: EncodedPrompt, values: Tensor) -> Tensor:
        """One tile a picture, or tiles packed by the model's own code: the whole first, rows ended by a token."""
        if "image_sizes" not in prompt.vision or not hasattr(self.model.model, "pack_image_features"):
            return super().pooled(prompt, values)
        config = self.model.config
        side = config.vision_config.image_size // patch_side(self.model)
        newline = torch.full((len(values),), torch.nan)
        tiles = values.reshape(len(values), len(prompt.vision["image_sizes"]), -1, *values.shape[-2:])
        laid = [
            grids.cells(tiles[:, number, :count], side * side, patch_side(self.model)).permute(1, 2, 0)
            for number, count in enumerate(self._tiles(prompt))
        ]
        more = {"vision_aspect_ratio": config.vision_aspect_ratio} if hasattr(config, "vision_aspect_ratio") else {
            "vision_feature_select_strategy": config.vision_feature_select_strategy
        }  # fmt: skip
        packed, _ = self.model.model.pack_image_features(
            laid, prompt.vision["image_sizes"], image_newline=newline, **more
        )
        found: Tensor = torch.cat(packed).T
        if found.shape[1] != int(prompt.image_positions.sum()):
            raise grids.unplaced()
        return found

    def _tiles(self, prompt: EncodedPrompt) -> list[int]:
        """How many tiles each picture is cut into; OneVision does not cut those of a question with several."""
        sizes, config = prompt.vision["image_sizes"], self.model.config
        together = prompt.vision.get("batch_num_images", torch.ones(len(sizes), dtype=torch.long)).tolist()
        cut = [count == 1 for count in together for _ in range(count)]
        pinpoints, side = config.image_grid_pinpoints, config.vision_config.image_size
        return [
            int(image_size_to_num_patches(size, pinpoints, side)) if several else 1
            for size, several in zip(sizes, cut, strict=True)
        ]
