"""The arithmetic of preference objectives on log-probabilities: pure functions, no I/O.

Notation: ``B`` records, ``T`` answer tokens (padded), ``V`` vocabulary. Log-probabilities are natural
logarithms (nats) in float32 or float64. Masks are boolean, True where a token counts.
"""

import torch
from torch import Tensor
from torch.nn import functional


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``values [B, T]`` over the tokens selected by ``mask [B, T]``, as ``[B]``; 0 where none is.

    Unselected entries may hold anything, infinities included.
    """
    return torch.where(mask, values, 0.0).sum(-1)


def log_ratio(policy: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """s(x, y) = sum over selected tokens of log pi - log pi_ref, in nats.

    Args:
        policy: log pi of every answer token, ``[B, T]``.
        reference: log pi_ref of the same tokens, ``[B, T]``.
        mask: the selected tokens, ``[B, T]``.

    Returns:
        ``[B]``.
    """
    return masked_sum(policy - reference, mask)


def bradley_terry(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta (s_better - s_worse)), the ranking term of DPO (Rafailov et al. 2023, eq. 7).

    Written as a softplus, hence finite with a finite gradient for any finite gap.

    Args:
        better: log-ratios of the preferred side, nats, ``[B]``.
        worse: log-ratios of the other side, nats, ``[B]``.
        beta: strength; the gradient with respect to ``better`` is ``-beta sigmoid(-beta gap)``.

    Returns:
        ``[B]``; ln 2 where policy and reference agree.
    """
    return functional.softplus(-beta * (better - worse))


def bidirectional_kl(policy: Tensor, reference: Tensor, forward: float) -> Tensor:
    """Lambda KL(ref || pi) + (1 - lambda) KL(pi || ref), exact over the vocabulary.

    Args:
        policy: log pi of the whole vocabulary, ``[..., V]``; entries may be -inf.
        reference: log pi_ref, ``[..., V]``.
        forward: lambda, the share of KL(ref || pi).

    Returns:
        ``[...]``, nats, not negative beyond rounding.
    """
    # Floors instead of -inf: 0 * (-inf + inf) would be NaN in the loss or in its gradient.
    floor = torch.finfo(policy.dtype).min / 4
    policy, reference = policy.clamp_min(floor), reference.clamp_min(floor)
    weights = forward * reference.exp() - (1.0 - forward) * policy.exp()
    return (weights * (reference - policy)).sum(-1)


def mean_nll(policy: Tensor, mask: Tensor) -> Tensor:
    """Mean negative log-likelihood of the selected tokens of each record.

    Args:
        policy: log pi of every answer token, ``[B, T]``.
        mask: the selected tokens, ``[B, T]``.

    Returns:
        ``[B]``, nats per token; 0 where no token is selected.
    """
    return -masked_sum(policy, mask) / mask.sum(-1).clamp_min(1)
