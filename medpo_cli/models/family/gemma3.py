"""Gemma 3 and MedGemma: image tokens see each other both ways, most layers see a window only."""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Gemma3(Family):
    """``pixel_values`` [images, 3, H, W]; needs ``token_type_ids`` wherever images are.

    With tree masks the model ignores the token types: the masks hold the image blocks already, joined before
    the window is cut as in ``create_masks_for_vision_model`` of transformers.
    """

    name = "gemma3"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma3"})
    tree_masks = True
    stacked = True
    image_blocks = True
