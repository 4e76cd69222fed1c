"""Tiny random models of further families, to prove what their entries in models/family claim."""

from collections.abc import Callable
from typing import Any

import torch
from data import tiny_newer
from data.tiny_parts import finish, tokenizer_for
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from medpo_cli.models import tiny
from medpo_cli.models.processor import image_only


def qwen(version: int, **more: Any) -> tuple[Any, Any]:
    """Qwen2-VL or Qwen3-VL; ``more`` text settings."""
    tokenizer, text = tokenizer_for("<|vision_start|><|image_pad|><|vision_end|>", tiny.QWEN_TOKENS)
    text |= more
    ids = dict(zip(("start", "end", "image", "video"), tokenizer.convert_tokens_to_ids(tiny.QWEN_TOKENS), strict=True))
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    common = {
        "image_token_id": ids["image"],
        "video_token_id": ids["video"],
        "vision_start_token_id": ids["start"],
        "vision_end_token_id": ids["end"],
    }
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": 4, "temporal_patch_size": 2}
    vision |= {"spatial_merge_size": 2}
    if version == 2:
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
        config = Qwen2VLConfig(vision_config=vision, text_config=text | {"rope_parameters": rope}, **common)
        model = finish(Qwen2VLForConditionalGeneration, config, tokenizer)
    else:
        vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32}
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
        rope["mrope_interleaved"] = True
        text |= {"head_dim": 16, "rope_parameters": rope}
        config = Qwen3VLConfig(vision_config=vision, text_config=text, **common)
        model = finish(Qwen3VLForConditionalGeneration, config, tokenizer)
    images = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=256, max_pixels=4096
    )
    processor = image_only(Qwen2VLProcessor if version == 2 else Qwen3VLProcessor)(
        image_processor=images, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )
    return model, processor


def llava_next() -> tuple[Any, Any]:
    """Tiles: an image of 64 x 32 pixels is seen as a whole and as two halves."""
    tokenizer, text = tokenizer_for(tiny.IMAGE, [])
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    grid = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=LlamaConfig(**text),
        image_token_id=tokenizer.convert_tokens_to_ids(tiny.IMAGE),
        image_grid_pinpoints=grid,
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    return finish(LlavaNextForConditionalGeneration, config, tokenizer), processor


def internvl() -> tuple[Any, Any]:
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    names["video_token"] = "<video>"
    tokenizer, text = tokenizer_for("<IMG_CONTEXT>", list(names.values()), **names)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": [32, 32],
        "patch_size": [8, 8],
    }
    config = InternVLConfig(
        vision_config=vision,
        text_config=Qwen2Config(**text),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    images = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = image_only(InternVLProcessor)(
        image_processor=images, tokenizer=tokenizer, image_seq_length=4, chat_template=tokenizer.chat_template
    )
    return finish(InternVLForConditionalGeneration, config, tokenizer), processor


def idefics3() -> tuple[Any, Any]:
    rows = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    extra = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows]
    tokenizer, text = tokenizer_for("<image>", extra)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=LlamaConfig(**text),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template)
    return finish(Idefics3ForConditionalGeneration, config, tokenizer), processor


def gemma3() -> tuple[Any, Any]:
    """One layer with a window of 3 tokens, less than an image, one full layer; image tokens see each other."""
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer, text = tokenizer_for("<start_of_image>", list(names.values()), **names)
    text |= {"head_dim": 16, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "vision_use_head": False,
    }
    config = Gemma3Config(
        vision_config=vision,
        text_config=text,
        mm_tokens_per_image=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_id=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_id=tokenizer.convert_tokens_to_ids("<end_of_image>"),
    )
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    processor = Gemma3Processor(images, tokenizer, chat_template=tokenizer.chat_template, image_seq_length=4)
    model = finish(Gemma3ForConditionalGeneration, config, tokenizer)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.5)  # starts at zero
    return model, processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2_vl": lambda: qwen(2),
    "qwen3_vl": lambda: qwen(3),
    "llava_next": llava_next,
    "internvl": internvl,
    "idefics3": idefics3,
    "gemma3": gemma3,
    **tiny_newer.BUILDERS,
}
