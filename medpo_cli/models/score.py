"""Teacher-forced log-probabilities: how likely the policy finds a given answer."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt

Item = tuple[str | EncodedPrompt, Sequence[np.ndarray], str]
"""A question (or what ``encode_prompt`` made of it), its images uint8 [H, W, 3], an answer."""


@torch.no_grad()
def answer_logprobs(vlm: VisionLanguageModel, items: Sequence[Item], *, batch: int = 16) -> list[Tensor]:
    """Log-probability (nats) of each token of each answer, the end-of-turn token last.

    The answer is tokenised alone and joined to the prompt's ids. Rows are padded to like lengths; padding
    changes nothing beyond rounding.

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
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    order = sorted(
        range(len(items)), key=lambda i: (bool(prompts[i].vision), lengths[i], prompts[i].image_key, i), reverse=True
    )
    found: dict[int, Tensor] = {}
    for chunk in _chunks(order, batch if vlm.family.reuses_features else 1):
        rows = _score(vlm, [prompts[i] for i in chunk], [answers[i] for i in chunk])
        found |= zip(chunk, rows, strict=True)
    return [found[number] for number in range(len(items))]


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
    labels = torch.cat(answers).to(vlm.device)
    scores = logits.float()
    logprobs = scores.gather(1, labels[:, None])[:, 0] - scores.logsumexp(-1)
    rows: Sequence[Tensor] = logprobs.cpu().split([len(answer) for answer in answers])
    return rows


def _chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
