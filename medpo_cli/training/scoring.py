"""One forward pass: kept states to log-probabilities and divergences, by sequence name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import ImageFeatures
from medpo_cli.training.indices import Index
from medpo_cli.training.layout import Layout
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.objectives.terms import kl_rows

CHUNK = 256
"""States whose logits exist at one time: 150 MB in float32 for a vocabulary of 150,000."""


@dataclass(frozen=True)
class Frozen:
    """What a frozen policy says about a forward pass.

    Attributes:
        logprobs: of the pairs of the layout, nats, ``[P]``.
        states: final hidden states at the layout's ``kl`` positions, ``[K, H]``: the head is frozen too, so
            that a whole distribution costs a few kilobytes instead of a vocabulary.
    """

    logprobs: Tensor
    states: Tensor


def states(vlm: VisionLanguageModel, layout: Layout, features: Sequence[ImageFeatures]) -> Tensor:
    """Final hidden states at the kept positions, ``[N, H]``, in the model's type."""
    return vlm.states(
        layout.input_ids,
        features=features,
        attention_mask=layout.attention_mask,
        position_ids=layout.position_ids if vlm.family.reuses_features else None,
        keep=layout.keep,
    )


def logprobs(vlm: VisionLanguageModel, layout: Layout, kept: Tensor) -> Tensor:
    """Log-probability of each pair of the layout, float32 (float64 for a float64 model), ``[P]``, nats."""
    found, _, _ = _through_head(vlm, layout, kept, None)
    return found


def frozen(vlm: VisionLanguageModel, layout: Layout, features: Sequence[ImageFeatures]) -> Frozen:
    """What the model, as it is, says; no gradient."""
    with torch.no_grad():
        kept = states(vlm, layout, features)
        return Frozen(logprobs(vlm, layout, kept), kept[layout.kl])


def score(
    vlm: VisionLanguageModel,
    layout: Layout,
    kept: Tensor,
    reference: Frozen | None,
    second: Frozen | None = None,
    auxiliary: nn.Module | None = None,
) -> dict[str, Scored]:
    """Everything the objectives read, by sequence name.

    Args:
        vlm: the policy.
        layout: the forward pass.
        kept: the policy's states, ``[N, H]``.
        reference: of the same pass; None: no ratio is taken.
        second: of a second reference.
        auxiliary: head on the state that predicts an answer's last token.
    """
    found, forward_kl, reverse_kl = _through_head(vlm, layout, kept, reference)

    def scored(index: Index) -> Scored:
        policy = found[index.pair]

        def spread(divergence: Tensor | None) -> Tensor | None:
            return None if divergence is None else torch.where(index.has_kl, divergence[index.kl], 0.0)

        return Scored(
            policy,
            policy.detach() if reference is None else reference.logprobs[index.pair],
            index.span,
            index.response,
            index.sentence,
            None if index.weights is None else index.weights.to(policy.dtype),
            spread(forward_kl),
            spread(reverse_kl),
            None if second is None else second.logprobs[index.pair],
            None if auxiliary is None else auxiliary(kept[index.last].to(policy.dtype)),
            index.owner,
            index.facts,
        )

    return {name: scored(index) for name, index in layout.index.items()}


def _through_head(
    vlm: VisionLanguageModel, layout: Layout, kept: Tensor, reference: Frozen | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Log-probabilities of pairs ``[P]`` and both divergences ``[K]`` (None without positions to read).

    Logits exist for ``CHUNK`` states at a time; beyond one chunk they are computed again for the backward
    pass instead of being kept.
    """
    divergent = reference is not None and len(layout.kl) > 0
    apart = len(kept) > CHUNK and torch.is_grad_enabled()
    parts: list[tuple[Tensor, ...]] = []
    for start in range(0, max(1, len(kept)), CHUNK):
        here, there = (_within(rows, start, len(kept)) for rows in (layout.pairs[0], layout.kl))
        arguments = [kept[start : start + CHUNK], layout.pairs[0][here] - start, layout.pairs[1][here]]
        if divergent and reference is not None:
            arguments += [layout.kl[there] - start, reference.states[there]]
        compute: Callable[..., tuple[Tensor, ...]] = _chunk
        parts.append(checkpoint(compute, vlm, *arguments, use_reentrant=False) if apart else compute(vlm, *arguments))
    joined = [torch.cat(group) for group in zip(*parts, strict=True)]
    return (joined[0], joined[1], joined[2]) if divergent else (joined[0], None, None)


def _within(rows: Tensor, start: int, total: int) -> slice:
    """Where the rising numbers ``rows`` lie in this chunk."""
    if total <= CHUNK:
        return slice(0, len(rows))  # the usual case, without waiting for a GPU
    edges = torch.tensor([start, start + CHUNK], device=rows.device)
    low, high = torch.searchsorted(rows.contiguous(), edges).tolist()
    return slice(low, high)


def _chunk(
    vlm: VisionLanguageModel,
    kept: Tensor,
    rows: Tensor,
    labels: Tensor,
    kl: Tensor | None = None,
    reference: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Log-probabilities of ``labels`` at ``rows`` of ``kept``; with ``reference`` also both divergences at ``kl``.

    Logits are raised to float32 before the logarithm: a log-softmax in bfloat16 is wrong by as much as a
    margin early in training.
    """
    logits = _raised(vlm.head(kept))
    normaliser = logits.logsumexp(-1)
    found = logits[rows, labels] - normaliser[rows]
    if kl is None or reference is None:
        return (found,)
    # Policy and reference through the head in equal shapes: equal states then give a KL of exactly 0.
    policy = _raised(vlm.head(kept[kl])).log_softmax(-1)
    with torch.no_grad():
        other = _raised(vlm.head(reference)).log_softmax(-1)
    return (found, *kl_rows(policy, other))


def _raised(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
