"""Families of image-text models: one file each behind ``base.Family``; the rest is ``generic``."""

from typing import Any

from medpo_cli.errors import UnavailableError
from medpo_cli.models.family.base import EncodedPrompt, Family, ImageFeatures
from medpo_cli.models.family.gemma3 import Gemma3
from medpo_cli.models.family.generic import Generic
from medpo_cli.models.family.idefics import Idefics
from medpo_cli.models.family.internvl import InternVL
from medpo_cli.models.family.llava import Llava
from medpo_cli.models.family.mistral3 import Mistral3
from medpo_cli.models.family.qwen_vl import QwenVL

FAMILIES: tuple[type[Family], ...] = (Llava, QwenVL, InternVL, Idefics, Mistral3, Gemma3)


REFUSED = {
    "paligemma": "every token of its prompt sees those after it, and its answers must be marked apart",
    "idefics": "its processor does not say which images the tokens of an answer read",
}


def check_kind(config: Any) -> None:
    """Refuse kinds of models whose answers cannot be scored in one row behind their prompt.

    Raises:
        UnavailableError: with the reason.
    """
    reason = REFUSED.get(config.model_type)
    if getattr(config, "is_encoder_decoder", False):
        reason = "it reads prompts and writes answers in two parts (encoder and decoder)"
    if reason:
        raise UnavailableError(
            f"medpo cannot use a {config.model_type} model: {reason}; "
            "give another image-text model such as LLaVA, Qwen-VL, Gemma 3 or SmolVLM"
        )


def family_of(model: Any, image_token_id: int) -> Family:
    """The family of a loaded model, by ``config.model_type``.

    Raises:
        UnavailableError: ``check_kind`` refuses it.
    """
    check_kind(model.config)
    kind = model.config.model_type
    return next((family for family in FAMILIES if kind in family.model_types), Generic)(model, image_token_id)


__all__ = ["EncodedPrompt", "Family", "ImageFeatures", "check_kind", "family_of"]
