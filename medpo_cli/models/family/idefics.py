"""Idefics3 and SmolVLM: images in tiles, padded to equal numbers in a batch; the language model is ``text_model``."""

from typing import ClassVar

from medpo_cli.models.family.base import EncodedPrompt, Family


class Idefics(Family):
    """``pixel_values`` [prompts, tiles, 3, H, W] with ``pixel_attention_mask`` [prompts, tiles, H, W]."""

    name = "idefics"
    model_types: ClassVar[frozenset[str]] = frozenset({"idefics3", "smolvlm"})
    tree_masks = True

    def images_in(self, prompt: EncodedPrompt) -> int:
        """One entry for each prompt: its tiles are joined."""
        return int(prompt.vision["pixel_values"].shape[0])
