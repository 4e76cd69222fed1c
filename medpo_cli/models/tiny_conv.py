"""A tiny LLaVA whose vision tower starts with convolutions, for small objects in small pictures.

The tower is stock ``SegformerModel`` whose last stage is left as a sequence of tokens, so that LLaVA takes
its last hidden state as it takes that of a ViT. It has no class token.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor, SegformerConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from medpo_cli.models.tiny import IMAGE, build_tokenizer, finish, llama_config

STRIDES = (4, 2, 2)
PATCH = 16
"""Pixels a token: the product of the strides."""


def build_llava_conv(
    sentences: Iterable[str],
    *,
    image_size: int = 96,
    widths: Sequence[int] = (32, 64, 128),
    depths: Sequence[int] = (1, 2, 2),
    hidden: int = 128,
    layers: int = 3,
    heads: int = 4,
    intermediate: int = 256,
    vocab_size: int = 512,
    mean: float = 0.5,
    std: float = 0.25,
    seed: int = 0,
) -> tuple[Any, Any]:
    """A LLaVA model (Segformer tower, two-layer projector, Llama) with random weights, and its processor.

    Args:
        sentences: what the tokenizer learns words from.
        image_size: pictures are resized to this; ``(image_size / 16) ** 2`` image tokens.
        widths: channels of the tower's three stages, after 4, 8 and 16 pixels a token.
        depths: transformer blocks of each stage.
        hidden: width of the language model.
        layers: its depth.
        heads: its attention heads.
        intermediate: width of its feed-forward blocks.
        vocab_size: upper bound of the vocabulary.
        mean: subtracted from grey values 0..1, the same for all channels.
        std: what they are then divided by.
        seed: the weights are drawn from it alone.
    """
    tokenizer = build_tokenizer(sentences, vocab_size=vocab_size)
    config = LlavaConfig(
        vision_config=_tower(image_size, list(widths), list(depths)),
        text_config=llama_config(tokenizer, hidden, intermediate, layers, heads, heads, tie=True),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(image_size // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": image_size},
        crop_size={"height": image_size, "width": image_size},
        image_mean=[mean] * 3,
        image_std=[std] * 3,
    )
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE,
        chat_template=tokenizer.chat_template,
    )
    return finish(LlavaForConditionalGeneration, config, tokenizer, seed), processor


def _tower(image_size: int, widths: list[int], depths: list[int]) -> SegformerConfig:
    """LLaVA reads ``hidden_size`` and its processor ``image_size``; Segformer itself knows neither."""
    return SegformerConfig(
        num_channels=3,
        num_encoder_blocks=3,
        depths=depths,
        sr_ratios=[4, 2, 1],
        hidden_sizes=widths,
        patch_sizes=[7, 3, 3],
        strides=list(STRIDES),
        num_attention_heads=[1, 2, 4],
        mlp_ratios=[2, 2, 2],
        drop_path_rate=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        reshape_last_stage=False,
        hidden_size=widths[-1],
        image_size=image_size,
        patch_size=PATCH,
    )
