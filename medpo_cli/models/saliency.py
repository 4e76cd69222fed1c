"""Which parts of the picture the policy's own answer hangs on: gradient x input, occlusion, attention.

Circular as evidence: the policy points at what it looks at, right or wrong. Maps lie on the picture itself,
whatever the processor does to it: where its values come from is read off a picture of coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from medpo_cli.errors import RecordError
from medpo_cli.models.attention import eager
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures
from medpo_cli.models.score import answer_logprobs

Method = Literal["gradient", "occlusion", "attention"]
Map = npt.NDArray[np.float64]
CELLS = 24
"""Cells a side of gradient and attention maps: finer than the patches of common towers is noise."""
PATCHES = 8
"""Cells a side that occlusion covers one after the other."""


@dataclass(frozen=True)
class Question:
    """What a map is about.

    Attributes:
        prompt: the question.
        images: uint8 [H, W, 3] each; maps lie on the first.
        answer: the policy's answer.
        words: half-open code-point ranges of the answer that count; empty: all of it.
    """

    prompt: str
    images: Sequence[np.ndarray]
    answer: str
    words: Sequence[tuple[int, int]] = ()


def saliency(vlm: VisionLanguageModel, question: Question, method: Method) -> Map:
    """How much each pixel of the first image matters to the words, float64 [H, W], at least 0.

    Args:
        vlm: the policy.
        question: what it was asked and said.
        method: ``gradient`` (|gradient x input| of the words' log-probability, smoothed), ``occlusion`` (what the
            log-probability loses where a patch is grey), ``attention`` (mean over layers and heads, read eagerly).

    Raises:
        RecordError: ``saliency-words`` where no token of the answer covers the words, ``saliency-unplaced``
            where the family's image tensors do not tell where they come from, ``saliency-not-finite``.
    """
    height, width = question.images[0].shape[:2]
    small = Image.fromarray(cells(vlm, question, method).astype(np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float64)


def cells(vlm: VisionLanguageModel, question: Question, method: Method) -> Map:
    """The map that ``saliency`` spreads over the picture: float64 [CELLS, CELLS] (occlusion: PATCHES), at least 0."""
    found = {"gradient": _gradient, "occlusion": _occlusion, "attention": _attention}[method](
        vlm, question, counted_tokens(vlm, question)
    )
    if not np.isfinite(found).all():
        raise RecordError("saliency-not-finite", "the model gives values that are not finite for this image")
    return np.asarray(np.maximum(found, 0), np.float64)


def counted_tokens(vlm: VisionLanguageModel, question: Question) -> Tensor:
    """Which tokens of the answer count, bool [T], the end-of-turn token last."""
    offsets = vlm.encode_answer(question.answer).offsets
    whole = [(0, len(question.answer) + 1)]
    words = question.words or whole
    counted = torch.tensor([any(s < end and start < max(e, s + 1) for start, end in words) for s, e in offsets])
    if not counted.any():
        raise RecordError("saliency-words", "no token of the answer covers the words")
    return counted


def _gradient(vlm: VisionLanguageModel, question: Question, counted: Tensor) -> Map:
    prompt, ids = _row(vlm, question)
    pixels = _pixels(prompt).clone().requires_grad_(True)
    with torch.enable_grad():
        logits = _forward(vlm, prompt, ids, pixel_values=pixels).logits[0]
        total = _logprobs(logits[len(prompt) - 1 : -1], ids[0, len(prompt) :])[counted.to(ids.device)].sum()
        (slope,) = torch.autograd.grad(total, pixels)
    values = _by_channel(slope.float() * pixels.detach().float()).abs().sum(1)
    return np.asarray(gaussian_filter(_on_picture(vlm, question, values.cpu().numpy()), 1.0), np.float64)


@torch.no_grad()
def _attention(vlm: VisionLanguageModel, question: Question, counted: Tensor) -> Map:
    prompt, ids = _row(vlm, question)
    pixels = _pixels(prompt)
    with eager(vlm):
        layers = _forward(vlm, prompt, ids, output_attentions=True).attentions
    if not layers or layers[0] is None or pixels.ndim != 4:
        raise RecordError("saliency-unplaced", "this model's attention cannot be laid on the picture")
    rows = torch.arange(len(prompt) - 1, ids.shape[1] - 1)[counted]
    seen = torch.stack([layer[0].float().mean(0)[rows].mean(0) for layer in layers]).mean(0).cpu()
    tokens = seen[: len(prompt)][prompt.image_positions]
    tokens = tokens[: len(tokens) // len(pixels)]  # the first image's
    side = int(len(tokens) ** 0.5)
    if len(tokens) == side * side + 1:
        tokens = tokens[1:]  # a class token
    if len(tokens) != side * side or side < 2:
        raise RecordError("saliency-unplaced", "this model's attention cannot be laid on the picture")
    laid = torch.nn.functional.interpolate(tokens.reshape(1, 1, side, side), size=pixels.shape[-2:], mode="nearest")
    values = laid.flatten(1).expand(len(pixels), -1)
    return _on_picture(vlm, question, values.numpy())


def _occlusion(vlm: VisionLanguageModel, question: Question, counted: Tensor) -> Map:
    picture = question.images[0]
    rows, columns = (np.linspace(0, size, PATCHES + 1).round().astype(int) for size in picture.shape[:2])
    views = [picture]
    for y in range(PATCHES):
        for x in range(PATCHES):
            covered = picture.copy()
            covered[rows[y] : rows[y + 1], columns[x] : columns[x + 1]] = picture.mean((0, 1)).round()
            views.append(covered)
    rest = list(question.images[1:])
    found = answer_logprobs(vlm, [(question.prompt, [view, *rest], question.answer) for view in views])
    sums = np.array([float(logprobs[counted].sum()) for logprobs in found])
    return np.asarray((sums[0] - sums[1:]).reshape(PATCHES, PATCHES), np.float64)


def _row(vlm: VisionLanguageModel, question: Question) -> tuple[EncodedPrompt, Tensor]:
    """The encoded prompt on the model's device, and the ids [1, S] of prompt and answer."""
    prompt = vlm.moved(vlm.encode_prompt(question.prompt, question.images))
    answer = vlm.encode_answer(question.answer).ids
    return prompt, torch.cat([prompt.input_ids, answer])[None].to(vlm.device)


def _forward(vlm: VisionLanguageModel, prompt: EncodedPrompt, ids: Tensor, **more: Any) -> Any:
    """The model's own forward with the tower in it, so that gradients reach the pixels."""
    vision = prompt.vision
    if not vlm.family.reuses_features:  # some of these inputs are as long as the row
        vision = vlm.family.image_inputs([ImageFeatures(inputs=vision)], ids)
    inputs = {**vision, **vlm.family.token_inputs(ids), "use_cache": False, **more}
    return vlm.base(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)


def _logprobs(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.float().log_softmax(-1).gather(1, labels[:, None])[:, 0]


def _pixels(prompt: EncodedPrompt) -> Tensor:
    pixels = prompt.vision.get("pixel_values")
    if pixels is None or not pixels.is_floating_point():
        raise RecordError("saliency-unplaced", "this model's image tensors are not known")
    return pixels


def _by_channel(pixels: Tensor) -> Tensor:
    """[pictures, 3, values] of ``pixel_values`` [..., 3, H, W], or of flattened patches [N, 3 * K]."""
    if pixels.ndim >= 4 and pixels.shape[-3] == 3:
        return pixels.reshape(-1, 3, pixels.shape[-2] * pixels.shape[-1])
    if pixels.ndim == 2 and pixels.shape[1] % 3 == 0:
        return pixels.reshape(len(pixels), 3, -1)
    raise RecordError("saliency-unplaced", "this model's image tensors are not known")


def _on_picture(vlm: VisionLanguageModel, question: Question, values: npt.NDArray[Any]) -> Map:
    """Mean of ``values`` [pictures, values] in each cell of the first image, [CELLS, CELLS]."""
    x, y, known = _coordinates(vlm, question)
    cell = (y[known] * CELLS).astype(int).clip(0, CELLS - 1) * CELLS + (x[known] * CELLS).astype(int).clip(0, CELLS - 1)
    count = np.bincount(cell, minlength=CELLS**2)
    total = np.bincount(cell, weights=values[known], minlength=CELLS**2)
    return np.asarray((total / np.maximum(count, 1)).reshape(CELLS, CELLS), np.float64)


def _coordinates(vlm: VisionLanguageModel, question: Question) -> tuple[Map, Map, npt.NDArray[np.bool_]]:
    """Where each value of ``pixel_values`` lies on the first image: x and y from 0 to 1, and whether it does.

    The processor is shown a picture whose red is x and whose green is y, and a black and a white one to undo its
    scaling. What black and white do not change belongs to another image; what blue leaves dark is padding.
    """
    height, width = question.images[0].shape[:2]
    ramp = np.full((height, width, 3), 255, np.uint8)
    ramp[..., 0] = np.round((np.arange(width) + 0.5) / width * 255)
    ramp[..., 1] = np.round((np.arange(height) + 0.5) / height * 255)[:, None]
    shown = []
    for first in (np.zeros_like(ramp), np.full_like(ramp, 255), ramp):
        encoded = vlm.encode_prompt(question.prompt, [first, *question.images[1:]])
        shown.append(_by_channel(_pixels(encoded)).double().numpy())
    black, white, place = shown
    known = (np.abs(white - black) > 1e-6).all(1)
    share = (place - black) / np.where(white == black, 1, white - black)
    return share[:, 0], share[:, 1], known & (share[:, 2] > 0.99)
