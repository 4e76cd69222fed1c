"""Teacher-forced log-probabilities: how likely the policy finds a given answer.

Questions about one image share the pass over the image, where the family's prompts may be read in parts.
"""

from collections.abc import Sequence
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
    prompts = [
        prompt if isinstance(prompt, EncodedPrompt) else vlm.encode_prompt(prompt, images)
        for prompt, images, _ in items
    ]
    answers = [vlm.encode_answer(answer).ids for _, _, answer in items]
    images = [(bool(prompt.vision), prompt.image_key) for prompt in prompts]
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    longest: dict[tuple[bool, str], int] = {}
    for image, length in zip(images, lengths, strict=True):
        longest[image] = max(length, longest.get(image, 0))
    order = sorted(range(len(items)), key=lambda i: (images[i][0], longest[images[i]], images[i][1], lengths[i], -i))
    score = _score_shared if vlm.family.own_loop else _score
    found: dict[int, Tensor] = {}
    for _, kind in groupby(reversed(order), key=lambda i: images[i][0]):
        for chunk in _chunks(list(kind), batch if vlm.family.reuses_features else 1):
            found |= zip(chunk, score(vlm, [prompts[i] for i in chunk], [answers[i] for i in chunk]), strict=True)
    return [found[number] for number in range(len(items))]


def _score_shared(vlm: VisionLanguageModel, prompts: list[EncodedPrompt], answers: list[Tensor]) -> Sequence[Tensor]:
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
    logits = vlm.forward(
        ids,
        attention_mask=torch.cat([before, mask], dim=1),
        position_ids=left_padded_positions(vlm, prompts, parts),
        cache=cache,
        logits_to_keep=torch.arange(width, device=vlm.device) >= width - sizes[:, None],
    )
    return _of_answers(vlm, logits, answers)


def _score(vlm: VisionLanguageModel, prompts: list[EncodedPrompt], answers: list[Tensor]) -> Sequence[Tensor]:
    """One forward pass; logits exist at the positions that predict an answer token only."""
    sizes = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    width = max(sizes)
    ids, mask, keep = [], [], torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, (prompt, answer, size) in enumerate(zip(prompts, answers, sizes, strict=True)):
        ids.append(pad(torch.cat([prompt.input_ids, answer]), (0, width - size), value=vlm.end_id))
        mask.append(pad(torch.ones(size, dtype=torch.long), (0, width - size)))
        keep[row, len(prompt) - 1 : size - 1] = True
    logits = vlm.forward(
        torch.stack(ids).to(vlm.device),
        features=vlm.image_features([prompt for prompt in prompts if prompt.vision]) or None,
        attention_mask=torch.stack(mask).to(vlm.device),
        position_ids=vlm.row_positions(prompts, width),
        logits_to_keep=keep.to(vlm.device),
    )
    return _of_answers(vlm, logits, answers)


def _of_answers(vlm: VisionLanguageModel, logits: Tensor, answers: list[Tensor]) -> Sequence[Tensor]:
    """Kept logits [N, V], answers one after another, as the log-probabilities of each answer's tokens."""
    labels = torch.cat(answers).to(vlm.device)
    scores = logits.float()
    logprobs = scores.gather(1, labels[:, None])[:, 0] - scores.logsumexp(-1)
    rows: Sequence[Tensor] = logprobs.cpu().split([len(answer) for answer in answers])
    return rows


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
