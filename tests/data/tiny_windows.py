"""Tiny random models whose language model has layers that see a window of tokens only."""

from collections.abc import Callable
from typing import Any

from data.tiny_families import qwen
from data.tiny_newer import VISION
from data.tiny_parts import finish, tokenizer_for
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    Phi3Config,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from medpo_cli.models.tiny import build_qwen2_5_vl

WINDOW = 6
MIXED: dict[str, Any] = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
"""The first layer sees everything, the second a window."""


def llava(text_config: Any, **more: Any) -> tuple[Any, Any]:
    """LLaVA on another language model than Llama."""
    tokenizer, text = tokenizer_for("<image>", [])
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=text_config(**text | more),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return finish(LlavaForConditionalGeneration, config, tokenizer), processor


def qwen2_5_vl() -> tuple[Any, Any]:
    model, processor = build_qwen2_5_vl()
    text = model.config.text_config
    text.use_sliding_window, text.sliding_window = True, WINDOW
    text.layer_types = ["full_attention", "sliding_attention"]
    return finish(Qwen2_5_VLForConditionalGeneration, model.config, processor.tokenizer), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "mistral": lambda: llava(MistralConfig, sliding_window=WINDOW),
    "qwen2": lambda: llava(Qwen2Config, **MIXED),
    "qwen3": lambda: llava(Qwen3Config, head_dim=16, **MIXED),
    "qwen2_vl_text": lambda: qwen(2, **MIXED),
    "qwen2_5_vl_text": qwen2_5_vl,
}


def phi3() -> tuple[Any, Any]:
    """A window in a language model that nobody tried under tree masks."""
    return llava(Phi3Config, sliding_window=WINDOW)
