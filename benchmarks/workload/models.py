"""Random models of known sizes, saved as ordinary Hugging Face folders that every tool loads.

The vocabulary is padded in the model only: the tokenizer knows a few hundred words, each one token, so that
lengths in words are lengths in tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from medpo_cli.models import tiny
from medpo_cli.models.processor import image_only


@dataclass(frozen=True)
class Model:
    """How a model is built.

    Attributes:
        side: height and width of its pictures, pixels.
        rank: LoRA rank it is trained with.
        build: gives model and processor from training sentences, vocabulary size and device.
    """

    side: int
    rank: int
    build: Callable[[list[str], int, str], tuple[Any, Any]]
    vocabulary: int


def _llava(**sizes: Any) -> Callable[[list[str], int, str], tuple[Any, Any]]:
    def build(sentences: list[str], vocabulary: int, _device: str) -> tuple[Any, Any]:
        model, processor = tiny.build_llava(
            sentences, patch_size=14, strategy="default", feature_layer=-2, vocab_size=4096, **sizes
        )
        torch.manual_seed(0)
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
        return model, processor

    return build


def _qwen3_vl(
    text: dict[str, Any], vision: dict[str, Any], dtype: torch.dtype = torch.float32
) -> Callable[[list[str], int, str], tuple[Any, Any]]:
    def build(sentences: list[str], vocabulary: int, device: str) -> tuple[Any, Any]:
        image = "<|vision_start|><|image_pad|><|vision_end|>"
        tokenizer = tiny.build_tokenizer(sentences, vocab_size=4096, extra_tokens=tiny.QWEN_TOKENS, image=image)
        start, end, placeholder, video = tokenizer.convert_tokens_to_ids(tiny.QWEN_TOKENS)
        special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
        config = Qwen3VLConfig(
            vision_config=vision | {"patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2},
            text_config=text | special | {"vocab_size": vocabulary, "max_position_embeddings": 8192},
            image_token_id=placeholder,
            video_token_id=video,
            vision_start_token_id=start,
            vision_end_token_id=end,
            tie_word_embeddings=text["tie_word_embeddings"],
        )
        images = Qwen2VLImageProcessorPil(
            patch_size=16, temporal_patch_size=2, merge_size=2, min_pixels=32 * 32, max_pixels=1024 * 1024
        )
        processor = image_only(Qwen3VLProcessor)(
            image_processor=images, tokenizer=tokenizer, chat_template=tokenizer.chat_template
        )
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                return tiny.finish(Qwen3VLForConditionalGeneration, config, tokenizer, 0), processor
        finally:
            torch.set_default_dtype(default)

    return build


def _text(hidden: int, layers: int, heads: int, kv_heads: int, width: int, head: int, *, tie: bool) -> dict[str, Any]:
    """Sizes of a Qwen3 language model; the rotary sections split ``head / 2`` as 24 : 20 : 20."""
    high = 5 * head // 32
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [head // 2 - 2 * high, high, high]}
    return {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "head_dim": head,
        "num_key_value_heads": kv_heads, "intermediate_size": width, "tie_word_embeddings": tie,
        "rope_parameters": rope | {"mrope_interleaved": True},
    }  # fmt: skip


def _tower(hidden: int, depth: int, heads: int, deepstack: list[int], out: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden, "intermediate_size": 4 * hidden, "depth": depth, "num_heads": heads,
        "out_hidden_size": out, "num_position_embeddings": 2304, "deepstack_visual_indexes": deepstack,
    }  # fmt: skip


MODELS = {
    # The model B of the peers' comparison: 20 M, 576 image tokens.
    "llava-b": Model(336, 16, _llava(
        image_size=336, vision_hidden=128, vision_layers=3, vision_heads=4,
        hidden=256, layers=4, heads=4, kv_heads=2, intermediate=768), 32000),
    # About 40 M, 256 image tokens. The Qwen tower costs half a text pass an image, as that of the 4B model does.
    "llava-40m": Model(224, 24, _llava(
        image_size=224, vision_hidden=384, vision_layers=6, vision_heads=6,
        hidden=512, layers=8, heads=8, kv_heads=4, intermediate=1536), 8192),
    "qwen3-vl-40m": Model(512, 24, _qwen3_vl(
        _text(512, 8, 8, 4, 1536, 64, tie=False), _tower(256, 3, 4, [0, 1, 2], 512)), 8192),
    # The real configuration, random weights: 1024 image tokens.
    "qwen3-vl-4b-random": Model(1024, 128, _qwen3_vl(
        _text(2560, 36, 32, 8, 9728, 128, tie=True), _tower(1024, 24, 16, [5, 11, 17], 2560), torch.bfloat16), 151936),
    # Proves the path of the 4B model in seconds.
    "qwen3-vl-tiny": Model(64, 4, _qwen3_vl(
        _text(64, 2, 2, 1, 128, 32, tie=True), _tower(32, 3, 2, [0, 1, 2], 64)), 1024),
    "llava-tiny": Model(56, 4, _llava(
        image_size=56, vision_hidden=32, vision_layers=3, vision_heads=2,
        hidden=64, layers=2, heads=2, kv_heads=1, intermediate=128), 1024),
}  # fmt: skip


def save_model(name: str, sentences: list[str], folder: Path, *, vocabulary: int = 0, device: str = "cpu") -> Any:
    """Build ``name`` and write its folder; gives the tokenizer."""
    recipe = MODELS[name]
    model, processor = recipe.build(sentences, vocabulary or recipe.vocabulary, device)
    tiny.save(folder, model, processor)
    return processor.tokenizer
