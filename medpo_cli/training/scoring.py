"""One forward pass: kept logits to log-probabilities, by sequence name."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import ImageFeatures
from medpo_cli.training.layout import Index, Layout
from medpo_cli.training.objectives.methods import Scored, Term


@dataclass(frozen=True)
class LogProbs:
    """What one model says about one sequence name.

    Attributes:
        tokens: log-probability of each needed token, nats, ``[B, T]``; padding holds anything finite.
        rows: log-probabilities over the vocabulary where a KL is taken, ``[N, V]``, or None.
    """

    tokens: Tensor
    rows: Tensor | None


def kl_masks(index: dict[str, Index], terms: Sequence[Term]) -> dict[str, Tensor]:
    """For each sequence name under a KL term the tokens whose whole distribution it reads, ``[B, T]``."""
    masks = {}
    for term in terms:
        name = term.sequences[0]
        if term.kind == "kl" and name in index:
            masks[name] = index[name].span if term.scope == "span" else index[name].response
    return masks


def forward(
    vlm: VisionLanguageModel, layout: Layout, features: Sequence[ImageFeatures], terms: Sequence[Term]
) -> dict[str, LogProbs]:
    """Log-probabilities of everything in ``layout``, in float32 (float64 for a float64 model).

    Logits exist at kept positions only. They are raised to float32 before the logarithm: a log-softmax in
    bfloat16 is wrong by as much as a margin early in training.
    """
    logits = vlm.forward(
        layout.input_ids,
        features=features,
        attention_mask=layout.attention_mask,
        position_ids=layout.position_ids if vlm.family.reuses_features else None,
        logits_to_keep=layout.keep,
    )
    if logits.dtype != torch.float64:
        logits = logits.float()
    normaliser = logits.logsumexp(-1)
    masks = kl_masks(layout.index, terms)
    result = {}
    for name, index in layout.index.items():
        tokens = logits[index.kept, index.labels] - normaliser[index.kept]
        mask = masks.get(name)
        rows = None if mask is None else logits[index.kept[mask]].log_softmax(-1)
        result[name] = LogProbs(tokens, rows)
    return result


def scored(index: Index, policy: LogProbs, reference: LogProbs | None) -> Scored:
    """Policy and reference of one sequence name, as the objectives read them; without reference, no ratio."""
    if reference is None:
        return Scored(policy.tokens, policy.tokens.detach(), index.span, index.response)
    return Scored(policy.tokens, reference.tokens, index.span, index.response, policy.rows, reference.rows)
