"""Attention that is read: from tokens of a prompt or answer to the image tokens, layer by layer.

Only the eager implementation gives its weights away. The language model is switched to it for that one pass; the
tower and everything else stay as they are. One layer's weights are in memory at a time.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures


@contextlib.contextmanager
def eager(vlm: VisionLanguageModel) -> Iterator[None]:
    """The language model's attention in plain arithmetic, for as long as it is read."""
    configs = {id(config): config for config in (vlm.base.config.get_text_config(), vlm.base.get_decoder().config)}
    before = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


@torch.no_grad()
def image_attention(
    vlm: VisionLanguageModel,
    prompt: EncodedPrompt,
    answer: Tensor | None = None,
    counted: Tensor | None = None,
    *,
    features: ImageFeatures | None = None,
) -> Tensor:
    """How much of the attention goes to each image token, mean over heads and over the tokens that look.

    Args:
        vlm: the policy, with adapters as they are.
        prompt: with at least one image.
        answer: LongTensor [T] behind the prompt; a token of it looks from where it is predicted, one place before.
        counted: bool [T], which of them look. Without an answer the last token of the prompt looks.
        features: of the prompt's images, where they are known already.

    Returns:
        float32 [layers, image tokens] on the CPU, in the order of the placeholders; rows of layers without
        attention (linear ones) are NaN.

    Raises:
        RecordError: ``attention-unread`` where no layer gives its weights.
    """
    ids = prompt.input_ids if answer is None else torch.cat([prompt.input_ids, answer])
    last = len(prompt) - 1
    rows = torch.tensor([last]) if counted is None else last + counted.nonzero()[:, 0]
    ids = ids[None].to(vlm.device)
    seen = [features] if features is not None else vlm.image_features([prompt])
    positions = vlm.row_positions([prompt], ids.shape[1])
    with eager(vlm), _kept(vlm, rows, prompt.image_positions.nonzero()[:, 0]) as kept:
        vlm.forward(ids, features=seen, attention_mask=torch.ones_like(ids), position_ids=positions, logits_to_keep=1)
    width = int(prompt.image_positions.sum())
    if not any(layer is not None for layer in kept):
        raise RecordError("attention-unread", "this model's attention cannot be read")
    return torch.stack([torch.full((width,), torch.nan) if layer is None else layer for layer in kept])


@contextlib.contextmanager
def _kept(vlm: VisionLanguageModel, rows: Tensor, columns: Tensor) -> Iterator[list[Tensor | None]]:
    """While it lasts, the weights of each layer are cut down to rows and columns as soon as they are made."""
    layers = vlm.base.get_decoder().layers
    kept: list[Tensor | None] = [None] * len(layers)

    def keep(number: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if isinstance(weights, Tensor) and weights.ndim == 4:
                read = weights[0].index_select(1, rows.to(weights.device)).index_select(2, columns.to(weights.device))
                kept[number] = read.float().mean((0, 1)).cpu()

        return hook

    handles = [
        layer.self_attn.register_forward_hook(keep(number))
        for number, layer in enumerate(layers)
        if hasattr(layer, "self_attn")
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
