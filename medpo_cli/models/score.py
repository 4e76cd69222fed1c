"""Teacher-forced log-probabilities: how likely the policy finds a given answer.

Questions about one image share the pass over the image, where the family's prompts may be read in parts.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt
from medpo_cli.models.prefix import cut, left_padded, left_padded_positions, read_images

Item = tuple[str | EncodedPrompt, Sequence[np.ndarray], str]
"""A question (or what ``encode_prompt`` made of it), its images uint8 [H, W, 3], an answer."""


@torch.no_grad()
def answer_logprobs(vlm: VisionLanguageModel, items: Sequence[Item], *, batch: int = 16) -> list[Tensor]:
    """Log-probability (nats) of each token of each answer, the end-of-turn token last.

    The answer is tokenised alone and joined to the prompt's ids. Equal images and like lengths go together;
    padding and sharing change nothing beyond rounding.

    Args:
        vlm: the policy, with adapters as they are.
        items: questions with answers.
        batch: rows in one forward pass.

    Returns:
        For each item a float32 tensor [T] on the CPU.

    Raises:
        RecordError: a prompt cannot be encoded.
    """
    prompts = [_encoded(vlm, prompt, images) for prompt, images, _ in items]
    return _in_batches(vlm, prompts, [vlm.encode_answer(answer).ids for _, _, answer in items], batch, _of_answers)


@torch.no_grad()
def first_logprobs(
    vlm: VisionLanguageModel,
    questions: Sequence[tuple[str | EncodedPrompt, Sequence[np.ndarray]]],
    choices: Sequence[Sequence[int]],
    *,
    batch: int = 16,
) -> list[Tensor]:
    """Log-probability (nats) that the first token of the answer is one of each choice's tokens.

    Args:
        vlm: the policy, with adapters as they are.
        questions: prompts (or what ``encode_prompt`` made of them) with their images.
        choices: token ids of each choice; see ``choice_tokens``.
        batch: rows in one forward pass.

    Returns:
        For each question a float32 tensor [choices] on the CPU.

    Raises:
        RecordError: a prompt cannot be encoded.
    """
    tokens = [torch.tensor(list(choice), device=vlm.device) for choice in choices]

    def of_choices(_vlm: VisionLanguageModel, logits: Tensor, _answers: list[Tensor]) -> Sequence[Tensor]:
        logprobs = logits.float().log_softmax(-1)
        return list(torch.stack([logprobs[:, own].logsumexp(-1) for own in tokens], dim=-1).cpu())

    prompts = [_encoded(vlm, prompt, images) for prompt, images in questions]
    return _in_batches(vlm, prompts, [torch.tensor([vlm.end_id])] * len(prompts), batch, of_choices)


def choice_tokens(vlm: VisionLanguageModel, choices: Sequence[str]) -> list[list[int]] | None:
    """The tokens that can begin each choice, capital first letter or not; None where two begin alike."""
    found = [
        sorted({int(vlm.encode_answer(word).ids[0]) for word in (choice.capitalize(), choice.lower())})
        for choice in choices
    ]
    distinct = {token for tokens in found for token in tokens}
    return found if len(distinct) == sum(map(len, found)) else None


def _encoded(vlm: VisionLanguageModel, prompt: str | EncodedPrompt, images: Sequence[np.ndarray]) -> EncodedPrompt:
    return prompt if isinstance(prompt, EncodedPrompt) else vlm.encode_prompt(prompt, images)


Read = Callable[[VisionLanguageModel, Tensor, list[Tensor]], Sequence[Tensor]]
"""Kept logits [N, V] of a batch and its answers, as one result an answer."""


def _in_batches(
    vlm: VisionLanguageModel, prompts: Sequence[EncodedPrompt], answers: Sequence[Tensor], batch: int, read: Read
) -> list[Tensor]:
    """What ``read`` makes of the logits that predict each answer; equal images and like lengths together."""
    images = [(bool(prompt.vision), prompt.image_key) for prompt in prompts]
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    longest: dict[tuple[bool, str], int] = {}
    for image, length in zip(images, lengths, strict=True):
        longest[image] = max(length, longest.get(image, 0))
    order = sorted(range(len(prompts)), key=lambda i: (images[i][0], longest[images[i]], images[i][1], lengths[i], -i))
    logits_of = _logits_shared if vlm.family.own_loop else _logits
    found: dict[int, Tensor] = {}
    for _, kind in groupby(reversed(order), key=lambda i: images[i][0]):
        for chunk in _chunks(list(kind), batch if vlm.family.reuses_features else 1):
            own = [answers[i] for i in chunk]
            found |= zip(chunk, read(vlm, logits_of(vlm, [prompts[i] for i in chunk], own), own), strict=True)
    return [found[number] for number in range(len(prompts))]


def _logits_shared(vlm: VisionLanguageModel, prompts: list[EncodedPrompt], answers: list[Tensor]) -> Tensor:
    """Each distinct image once, then what follows it; the last answer token is only ever predicted."""
    cache = DynamicCache()
    images = [prompt for prompt in prompts if prompt.vision]
    features = dict(zip((prompt.image_key for prompt in images), vlm.image_features(images), strict=True))
    before = read_images(vlm, prompts, features, cache)
    starts = [cut(prompt) for prompt in prompts]
    rest = list(zip(prompts, starts, answers, strict=True))
    ids, mask = left_padded(vlm, [torch.cat([prompt.input_ids[start:], answer[:-1]]) for prompt, start, answer in rest])
    parts = [(start, len(prompt) + len(answer) - 1) for prompt, start, answer in rest]
    width = ids.shape[1]
    sizes = torch.tensor([len(answer) for answer in answers], device=vlm.device)
    return vlm.forward(
        ids,
        attention_mask=torch.cat([before, mask], dim=1),
        position_ids=left_padded_positions(vlm, prompts, parts),
        cache=cache,
        logits_to_keep=torch.arange(width, device=vlm.device) >= width - sizes[:, None],
    )


def _logits(vlm: VisionLanguageModel, prompts: list[EncodedPrompt], answers: list[Tensor]) -> Tensor:
    """One forward pass; logits exist at the positions that predict an answer token only."""
    sizes = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    width = max(sizes)
    ids, mask, keep = [], [], torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, (prompt, answer, size) in enumerate(zip(prompts, answers, sizes, strict=True)):
        ids.append(pad(torch.cat([prompt.input_ids, answer]), (0, width - size), value=vlm.end_id))
        mask.append(pad(torch.ones(size, dtype=torch.long), (0, width - size)))
        keep[row, len(prompt) - 1 : size - 1] = True
    return vlm.forward(
        torch.stack(ids).to(vlm.device),
        features=vlm.image_features([prompt for prompt in prompts if prompt.vision]) or None,
        attention_mask=torch.stack(mask).to(vlm.device),
        position_ids=vlm.row_positions(prompts, width),
        logits_to_keep=keep.to(vlm.device),
    )


def _of_answers(vlm: VisionLanguageModel, logits: Tensor, answers: list[Tensor]) -> Sequence[Tensor]:
    """Kept logits [N, V], answers one after another, as the log-probabilities of each answer's tokens."""
    labels = torch.cat(answers).to(vlm.device)
    scores = logits.float()
    logprobs = scores.gather(1, labels[:, None])[:, 0] - scores.logsumexp(-1)
    rows: Sequence[Tensor] = logprobs.cpu().split([len(answer) for answer in answers])
    return rows


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
