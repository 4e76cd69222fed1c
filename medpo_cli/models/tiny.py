"""Tiny random image-text models of stock transformers classes, with tokenizer and processor.

The tests run on them, and the demo's maintainer scripts start from them. Everything is deterministic in
the arguments: the same sentences, sizes and seed give the same files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from medpo_cli.models.processor import image_only

PAD, END, USER, ASSISTANT, IMAGE = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<image>"
QWEN_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SENTENCES = (
    "Describe the findings on this chest image.",
    "Is there a pleural effusion? Yes, there is a small left pleural effusion.",
    "No, there is no pleural effusion. The heart is normal in size. No nodule is seen.",
    "Which side is the pneumothorax on? The pneumothorax is on the right.",
)


def _template(image: str) -> str:
    """A chat template in which the prompt is an exact prefix of prompt plus answer."""
    return (
        "{% for message in messages %}<|{{ message['role'] }}|>"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


def build_tokenizer(
    sentences: Iterable[str] = SENTENCES, *, vocab_size: int = 512, extra_tokens: Iterable[str] = (), image: str = IMAGE
) -> Any:
    """A byte-level BPE tokenizer trained on ``sentences``; any text encodes, frequent words are one token.

    Args:
        sentences: the text it learns words from.
        vocab_size: upper bound of the vocabulary, at least 256 bytes plus special tokens.
        extra_tokens: further special tokens, after padding, end of turn, user, assistant and image.
        image: what the chat template writes for one image.
    """
    special = [PAD, END, USER, ASSISTANT, IMAGE, *extra_tokens]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(sentences), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[token for token in special if token not in (PAD, END)],
        chat_template=_template(image),
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def finish(model_class: type[Any], config: Any, tokenizer: Any, seed: int) -> Any:
    """The model with weights drawn from ``seed`` alone, in eval mode, knowing its end and padding tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config).eval()
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def llama_config(
    tokenizer: Any, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, *, tie: bool
) -> LlamaConfig:
    """A Llama of these sizes for the vocabulary of ``tokenizer``; ``tie`` shares input and output embeddings."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=tie,
    )


def build_llava(
    sentences: Iterable[str] = SENTENCES,
    *,
    image_size: int = 32,
    patch_size: int = 8,
    vision_hidden: int = 32,
    vision_layers: int = 2,
    vision_heads: int = 2,
    hidden: int = 32,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 2,
    intermediate: int = 64,
    vocab_size: int = 512,
    strategy: str = "full",
    feature_layer: int = -1,
    tie_embeddings: bool = False,
    seed: int = 0,
) -> tuple[Any, Any]:
    """A LLaVA model (CLIP tower, two-layer projector, Llama) with random weights, and its processor.

    ``strategy`` ``full`` keeps the class token: ``(image_size / patch_size) ** 2 + 1`` image tokens;
    ``default`` drops it. Images of any size are resized (bicubic) and cropped to ``image_size``.
    """
    tokenizer = build_tokenizer(sentences, vocab_size=vocab_size)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=vision_hidden,
            intermediate_size=2 * vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=vision_heads,
            image_size=image_size,
            patch_size=patch_size,
            projection_dim=vision_hidden,
        ),
        text_config=llama_config(tokenizer, hidden, intermediate, layers, heads, kv_heads, tie=tie_embeddings),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(image_size // patch_size) ** 2 + (strategy == "full"),
        vision_feature_select_strategy=strategy,
        vision_feature_layer=feature_layer,
        tie_word_embeddings=tie_embeddings,
    )
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=tokenizer.chat_template,
    )
    return finish(LlavaForConditionalGeneration, config, tokenizer, seed), processor


def build_qwen2_5_vl(
    sentences: Iterable[str] = SENTENCES, *, hidden: int = 32, layers: int = 2, vocab_size: int = 512, seed: int = 0
) -> tuple[Any, Any]:
    """A Qwen2.5-VL-like model (window attention in the tower, M-RoPE) with random weights, and its processor.

    Patches of 4 pixels, merged 2 x 2: an image of H x W pixels (multiples of 8 between 16 x 16 and
    64 x 64, others are resized) becomes ``H * W / 64`` image tokens.
    """
    tokenizer = build_tokenizer(
        sentences,
        vocab_size=vocab_size,
        extra_tokens=QWEN_TOKENS,
        image="<|vision_start|><|image_pad|><|vision_end|>",
    )
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(QWEN_TOKENS), strict=True))
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 4,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "out_hidden_size": hidden,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 64
    )
    processor = image_only(Qwen2_5_VLProcessor)(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )
    return finish(Qwen2_5_VLForConditionalGeneration, config, tokenizer, seed), processor


def save(folder: Path | str, model: Any, processor: Any) -> Path:
    """Write model (safetensors), tokenizer and processor into one folder that loads as any user's does."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)
