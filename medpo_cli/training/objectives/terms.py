"""The arithmetic of preference objectives on log-probabilities: pure functions, no I/O.

Notation: ``B`` records, ``T`` answer tokens (padded), ``V`` vocabulary. Log-probabilities are natural
logarithms (nats) in float32 or float64. Masks are boolean, True where a token counts. All values and
gradients are finite for gaps of 10,000 nats and more, where the released forms of several papers are not.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``values [B, T]`` over the tokens selected by ``mask [B, T]``, as ``[B]``; 0 where none is.

    Unselected entries may hold anything, infinities included.
    """
    return torch.where(mask, values, 0.0).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the selected tokens of each record, ``[B]``; 0 where none is."""
    return masked_sum(values, mask) / mask.sum(-1).clamp_min(1)


def log_ratio(policy: Tensor, reference: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """s(x, y) = sum over selected tokens of log pi - log pi_ref, in nats.

    Args:
        policy: log pi of every answer token, ``[B, T]``.
        reference: log pi_ref of the same tokens, ``[B, T]``.
        mask: the selected tokens, ``[B, T]``.
        weights: factor of each token, ``[B, T]``.

    Returns:
        ``[B]``.
    """
    ratios = policy - reference
    return masked_sum(ratios if weights is None else weights * ratios, mask)


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


def smoothed(gap: Tensor, flip: Tensor) -> Tensor:
    """(1 - e) -log sigmoid(z) + e -log sigmoid(-z): each label wrong with its own probability (RosePO).

    Args:
        gap: scaled gap z, ``[B]``.
        flip: probability e that the preference is the other way round, ``[B]``.
    """
    return functional.softplus(-gap) + flip * gap


def robust(gap: Tensor, epsilon: float) -> Tensor:
    """The unbiased loss under label noise ``epsilon`` (Chowdhury et al. 2024, eq. 12)."""
    return ((1 - epsilon) * functional.softplus(-gap) - epsilon * functional.softplus(gap)) / (1 - 2 * epsilon)


def squared_gap(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """IPO: (gap - 1 / (2 beta))^2 (Azar et al. 2023, eq. 17)."""
    return (better - worse - 0.5 / beta) ** 2


def noise_contrastive(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """NCA on a pair (Chen et al. 2024): -log sigmoid(r+) - 1/2 sum over both of log sigmoid(-r)."""
    softplus = functional.softplus
    return softplus(-beta * better) + 0.5 * (softplus(beta * better) + softplus(beta * worse))


def apo(better: Tensor, worse: Tensor, beta: float, *, zero: bool) -> Tensor:
    """Anchored preference optimization (D'Oosterlinck et al. 2024): ``zero`` for a poor, else a good model."""
    if zero:
        return torch.sigmoid(-beta * better) + torch.sigmoid(beta * worse)
    return torch.sigmoid(beta * better) + torch.sigmoid(-beta * (better - worse))


def self_play(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """SPPO with hard labels (Wu et al. 2024): (s+ - 1/(2 beta))^2 + (s- + 1/(2 beta))^2."""
    return (better - 0.5 / beta) ** 2 + (worse + 0.5 / beta) ** 2


def odds_ratio(better: Tensor, worse: Tensor) -> Tensor:
    """-log sigmoid of the log odds ratio (ORPO, Hong et al. 2024, eq. 7).

    Args:
        better: mean log-probability of the chosen answer, at most 0, ``[B]``.
        worse: of the rejected one.
    """
    return functional.softplus(-(_log_odds(better) - _log_odds(worse)))


def _log_odds(logprob: Tensor) -> Tensor:
    """Log p - log(1 - p); p is kept one rounding step below 1, where the odds would be infinite."""
    logprob = logprob.clamp_max(-torch.finfo(logprob.dtype).eps)
    return logprob - torch.log(-torch.expm1(logprob))


def prospect(ratio: Tensor, desirable: Tensor, base: Tensor, beta: float) -> Tensor:
    """KTO (Ethayarajh et al. 2024, eq. 8): 1 - sigmoid(beta (s - z)), or 1 - sigmoid(beta (z - s)).

    Args:
        ratio: log-ratio s of each answer, ``[B]``.
        desirable: bool ``[B]``.
        base: z, the KL of the batch, a scalar without gradient, not negative.
        beta: strength.
    """
    gap = torch.where(desirable, ratio - base, base - ratio)
    return torch.sigmoid(-beta * gap)


def kl_rows(policy: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """KL(ref || pi) and KL(pi || ref), exact over the vocabulary.

    Args:
        policy: log pi of the whole vocabulary, ``[..., V]``; entries may be -inf.
        reference: log pi_ref, ``[..., V]``.

    Returns:
        Two tensors ``[...]``, nats, not negative beyond rounding.
    """
    # Floors instead of -inf: 0 * (-inf + inf) would be NaN in the loss or in its gradient.
    floor = torch.finfo(policy.dtype).min / 4
    policy, reference = policy.clamp_min(floor), reference.clamp_min(floor)
    gap = reference - policy
    return (reference.exp() * gap).sum(-1), -(policy.exp() * gap).sum(-1)


def k3(policy: Tensor, other: Tensor, cap: float) -> Tensor:
    """Schulman's k3 = e^d - d - 1 with d = other - policy, at most ``cap``; not negative.

    Args:
        policy: log-probabilities, nats.
        other: of the same tokens under the other distribution.
        cap: largest value; beyond it the gradient is 0.
    """
    gap = (other - policy).clamp_max(20.0)  # e^20 is far beyond any cap, and stays finite in float32
    return (gap.exp() - gap - 1.0).clamp_max(cap)


def pair_list(scores: Tensor, rewards: Tensor, present: Tensor, beta: float, gamma: float) -> Tensor:
    """PerPO (2502.04371): every pair of a list, weighted by |difference of rewards|^gamma.

    Args:
        scores: log-ratios of the answers, nats, ``[B, N]``.
        rewards: ``[B, N]``, higher is better; order does not matter.
        present: bool ``[B, N]``, False at padding.
        beta: strength.
        gamma: exponent of the weights; 0 weighs all untied pairs alike.

    Returns:
        Weighted mean over the untied pairs, ``[B]``; 0 where all rewards are equal.
    """
    difference = rewards[:, :, None] - rewards[:, None, :]
    ordered = (difference > 0) & present[:, :, None] & present[:, None, :]
    weights = torch.where(ordered, difference.clamp_min(0.0) ** gamma, 0.0)
    losses = functional.softplus(-beta * (scores[:, :, None] - scores[:, None, :]))
    total = weights.sum((1, 2))
    return (weights * losses).sum((1, 2)) / torch.where(total > 0, total, 1.0)


def top_one(scores: Tensor, present: Tensor, beta: float) -> Tensor:
    """S-DPO (2406.09215): -log softmax of the first answer among all, ``[B]``; ln N at the start.

    Args:
        scores: log-ratios, the best answer first, ``[B, N]``.
        present: bool ``[B, N]``.
        beta: strength.
    """
    scaled = (beta * scores).masked_fill(~present, -torch.inf)
    return scaled.logsumexp(-1) - scaled[:, 0]


def plackett_luce(scores: Tensor, present: Tensor, beta: float) -> Tensor:
    """-log likelihood of the whole order, best first (LPOI's list term, 2505.21061), ``[B]``; ln N! at the start."""
    scaled = (beta * scores).masked_fill(~present, -torch.inf)
    behind = scaled.flip(-1).logcumsumexp(-1).flip(-1)
    return torch.where(present, behind - scaled, 0.0).sum(-1)


def policy_gradient(scores: Tensor, rewards: Tensor, drift: Tensor, ratio_cap: float) -> Tensor:
    """-1/2 (r1 - r2) (s1 - s2), times the pair's importance weight without gradient.

    From the theorem of P3O (2310.00212): its gradient is the pairwise policy gradient, and rewards may differ
    by any function of the question. The weight is pi / pi_old of both answers together.

    Args:
        scores: log pi of two answers, up to a constant each, nats, ``[B, 2]``.
        rewards: without gradient, ``[B, 2]``.
        drift: log pi - log pi_old of each answer, without gradient, ``[B, 2]``.
        ratio_cap: largest importance weight.

    Returns:
        ``[B]``.
    """
    weight = drift.sum(-1).clamp_max(math.log(ratio_cap)).exp()
    return -0.5 * weight * (rewards[:, 0] - rewards[:, 1]) * (scores[:, 0] - scores[:, 1])


def composite(second: Tensor, base: Tensor, clip: float) -> Tensor:
    """MRPO's reference of two (2405.16388, as its released code has it), for the answers of a pair.

    The second reference is clipped to the neighbourhood of the base; then both are joined, weighted by how
    clearly each tells the two answers apart. Everything is taken for each record alone.

    Args:
        second: log-probabilities of the second reference, ``[B, 2]`` (chosen, rejected), nats, summed.
        base: of the first reference, ``[B, 2]``.
        clip: largest relative distance, shared out between the answers by their size.

    Returns:
        ``[B, 2]``.
    """
    size = (second + base).abs() / 2
    room = clip * size / size.sum(-1, keepdim=True).clamp_min(torch.finfo(base.dtype).tiny)
    near = torch.minimum(torch.maximum(second, (1 + room) * base), (1 - room) * base)
    clear, plain = ((logs[:, :1] - logs[:, 1:]).abs() for logs in (second, base))
    alpha = clear / (clear + plain + 1e-6)
    return near + base - torch.logaddexp(alpha.log() + near, torch.log1p(-alpha) + base)
