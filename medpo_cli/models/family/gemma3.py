"""Gemma 3 and MedGemma: image tokens see each other both ways, most layers see a window only.

Both need masks that a plain tree mask would break, so that no row is shared; the tower still runs once.
"""

from typing import ClassVar

from medpo_cli.models.family.base import Family


class Gemma3(Family):
    """``pixel_values`` [images, 3, H, W]; needs ``token_type_ids`` wherever images are."""

    name = "gemma3"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma3"})
    stacked = True
