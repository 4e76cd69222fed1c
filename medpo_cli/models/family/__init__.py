"""Families of image-text models: one file each behind ``base.Family``; the rest is ``generic``."""

from typing import Any

from medpo_cli.models.family.base import EncodedPrompt, Family, ImageFeatures
from medpo_cli.models.family.gemma3 import Gemma3
from medpo_cli.models.family.generic import Generic
from medpo_cli.models.family.idefics import Idefics
from medpo_cli.models.family.internvl import InternVL
from medpo_cli.models.family.llava import Llava
from medpo_cli.models.family.mistral3 import Mistral3
from medpo_cli.models.family.qwen_vl import QwenVL

FAMILIES: tuple[type[Family], ...] = (Llava, QwenVL, InternVL, Idefics, Mistral3, Gemma3)


def family_of(model: Any, image_token_id: int) -> Family:
    """The family of a loaded model, by ``config.model_type``."""
    kind = model.config.model_type
    return next((family for family in FAMILIES if kind in family.model_types), Generic)(model, image_token_id)


__all__ = ["EncodedPrompt", "Family", "ImageFeatures", "family_of"]
