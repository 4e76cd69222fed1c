"""What questions about one image share: the prompt up to its last placeholder, read once, its cache repeated."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures


def cut(prompt: EncodedPrompt) -> int:
    """Length of the part that other questions about the same image share; at least one token stays outside it."""
    places = prompt.image_positions.nonzero()
    return min(int(places[-1]) + 1, len(prompt) - 1) if len(places) else 0


def read_images(
    vlm: VisionLanguageModel, prompts: Sequence[EncodedPrompt], features: Mapping[str, ImageFeatures], cache: Any
) -> Tensor:
    """Run each distinct shared part once and give every prompt its keys and values.

    Args:
        vlm: a model whose family has ``own_loop``.
        prompts: all with images, or all without.
        features: of their images, by image key.
        cache: an empty transformers cache; holds ``B`` rows afterwards.

    Returns:
        Mask of what the cache holds, ``[B, S]``, 0 at padding on the left.
    """
    if not any(cut(prompt) for prompt in prompts):
        return torch.zeros(len(prompts), 0, dtype=torch.long, device=vlm.device)
    distinct: dict[tuple[str, bytes], EncodedPrompt] = {}
    for prompt in prompts:
        distinct.setdefault(_key(prompt), prompt)
    shared = list(distinct.values())
    parts = [prompt.input_ids[: cut(prompt)] for prompt in shared]
    ids, mask = left_padded(vlm, parts)
    positions = left_padded_positions(vlm, shared, [(0, len(part)) for part in parts])
    images = [features[prompt.image_key] for prompt in shared]
    vlm.forward(ids, features=images, attention_mask=mask, position_ids=positions, cache=cache, logits_to_keep=1)
    places = {key: place for place, key in enumerate(distinct)}
    chosen = torch.tensor([places[_key(prompt)] for prompt in prompts], device=vlm.device)
    cache.batch_select_indices(chosen)
    return mask[chosen]


def left_padded(vlm: VisionLanguageModel, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Ids and 0/1 mask [B, S] of token stretches, on the model's device."""
    width = max(len(part) for part in parts)
    ids = torch.stack([pad(part, (width - len(part), 0), value=vlm.end_id) for part in parts])
    mask = torch.stack([pad(torch.ones_like(part), (width - len(part), 0)) for part in parts])
    return ids.to(vlm.device), mask.to(vlm.device)


def left_padded_positions(
    vlm: VisionLanguageModel, prompts: Sequence[EncodedPrompt], parts: Sequence[tuple[int, int]]
) -> Tensor:
    """Positions [axes, B, S] of the stretch ``start .. end`` of each prompt and its answer."""
    width = max(end - start for start, end in parts)
    rows = [
        pad(vlm.positions(prompt, max(end, len(prompt)))[:, start:end], (width - (end - start), 0))
        for prompt, (start, end) in zip(prompts, parts, strict=True)
    ]
    return torch.stack(rows, dim=1).to(vlm.device)


def _key(prompt: EncodedPrompt) -> tuple[str, bytes]:
    return prompt.image_key, prompt.input_ids[: cut(prompt)].numpy().tobytes()
