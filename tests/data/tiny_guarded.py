"""Tiny random models that share no rows: a linear-attention hybrid, cross-attention, a two-way prefix."""

from typing import Any

from data.tiny_newer import VISION
from data.tiny_parts import TEXT, finish, tokenizer_for
from transformers import (
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from medpo_cli.models import tiny
from medpo_cli.models.processor import image_only


def qwen3_5() -> tuple[Any, Any]:
    """One gated delta net layer, whose state runs through the row whatever the mask says, and one full layer."""
    tokenizer, text = tokenizer_for("<|vision_start|><|image_pad|><|vision_end|>", tiny.QWEN_TOKENS)
    start, end, image, video = tokenizer.convert_tokens_to_ids(tiny.QWEN_TOKENS)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    text |= {"rope_parameters": rope | {"partial_rotary_factor": 1.0}, "head_dim": 16}
    text |= {"layer_types": ["linear_attention", "full_attention"]}
    text |= {f"linear_{name}_head_dim": 16 for name in ("key", "value")}
    text |= {f"linear_num_{name}_heads": 2 for name in ("key", "value")}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2, "num_position_embeddings": 64}
    config = Qwen3_5Config(
        vision_config=vision,
        text_config=text,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=256, max_pixels=4096
    )
    processor = image_only(Qwen3VLProcessor)(
        image_processor=images, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )
    return finish(Qwen3_5ForConditionalGeneration, config, tokenizer), processor


def mllama() -> tuple[Any, Any]:
    """The second layer reads the image by cross-attention; its gates are opened, they start at zero."""
    tokenizer, text = tokenizer_for("<|image|>", ["<|image|>", "<|python_tag|>", "<|begin_of_text|>"])
    tokenizer.bos_token = "<|begin_of_text|>"
    config = MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
            "image_size": 32,
            "patch_size": 8,
            "max_num_tiles": 2,
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        text_config=text
        | {
            "bos_token_id": tokenizer.bos_token_id,
            "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = finish(MllamaForConditionalGeneration, config, tokenizer)
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            parameter.fill_(0.7)
    images = MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=2)
    return model, MllamaProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def paligemma() -> Any:
    """The model alone: it is refused before its processor matters."""
    config = PaliGemmaConfig(
        vision_config=VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=TEXT | {"model_type": "gemma", "vocab_size": 300, "head_dim": 16},
        image_token_index=299,
        projection_dim=32,
    )
    return PaliGemmaForConditionalGeneration(config)
