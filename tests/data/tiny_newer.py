"""Tiny random LLaVA-OneVision, SmolVLM, GLM-4V and Mistral 3 models."""

from collections.abc import Callable
from typing import Any

from data.tiny_parts import finish, tokenizer_for
from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vProcessor,
    Idefics3Processor,
    LlamaConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    Qwen2Config,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from medpo_cli.models.processor import image_only, pixtral

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def llava_onevision() -> tuple[Any, Any]:
    """Tiles as in LLaVA-NeXT, each image followed by a learned new-line embedding; Qwen2 underneath."""
    tokenizer, text = tokenizer_for("<image>", ["<video>"])
    grid = [[32, 32], [32, 64], [64, 32], [64, 64]]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=Qwen2Config(**text),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
    )
    images = LlavaOnevisionImageProcessorPil(size={"height": 32, "width": 32}, image_grid_pinpoints=grid)
    processor = image_only(LlavaOnevisionProcessor)(
        image_processor=images,
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )
    return finish(LlavaOnevisionForConditionalGeneration, config, tokenizer), processor


def smolvlm() -> tuple[Any, Any]:
    rows = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    extra = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows]
    tokenizer, text = tokenizer_for("<image>", extra)
    config = SmolVLMConfig(
        vision_config=VISION,
        text_config=LlamaConfig(**text),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template)
    return finish(SmolVLMForConditionalGeneration, config, tokenizer), processor


def glm4v() -> tuple[Any, Any]:
    """M-RoPE with interleaved pairs; image and video share a placeholder, told apart by what is around."""
    around = [f"<|{edge}_of_{kind}|>" for kind in ("image", "video") for edge in ("begin", "end")]
    extra = ["<|image|>", "<|video|>", *around]
    tokenizer, text = tokenizer_for(f"{around[0]}<|image|>{around[1]}", extra)
    ids = dict(zip(extra, tokenizer.convert_tokens_to_ids(extra), strict=True))
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}}
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "image_size": 32}
    config = Glm4vConfig(
        vision_config=vision | {"out_hidden_size": 32, "intermediate_size": 64},
        text_config=text,
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids[around[0]],
        image_end_token_id=ids[around[1]],
        video_start_token_id=ids[around[2]],
        video_end_token_id=ids[around[3]],
    )
    images = Glm4vImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, size={"shortest_edge": 512, "longest_edge": 8192}
    )
    processor = image_only(Glm4vProcessor)(
        image_processor=images, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )
    return finish(Glm4vForConditionalGeneration, config, tokenizer), processor


def mistral3() -> tuple[Any, Any]:
    """Images of any size: 2 x 2 patches become one placeholder, each row of placeholders ends in a break."""
    extra = ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    tokenizer, text = tokenizer_for("[IMG]", extra)
    config = Mistral3Config(
        vision_config=PixtralVisionConfig(**VISION | {"image_size": 64}),
        text_config=MistralConfig(**text | {"head_dim": 16, "sliding_window": None}),
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
    )
    images = PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=8)
    processor = pixtral()(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=8,
        spatial_merge_size=2,
        chat_template=tokenizer.chat_template,
    )
    return finish(Mistral3ForConditionalGeneration, config, tokenizer), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava_onevision": llava_onevision,
    "smolvlm": smolvlm,
    "glm4v": glm4v,
    "mistral3": mistral3,
}
