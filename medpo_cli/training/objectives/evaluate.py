"""From a term and what the model said to one number for each record."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from medpo_cli.schema import objectives as kinds
from medpo_cli.training.objectives import terms
from medpo_cli.training.objectives.scored import Scored

Batch = Mapping[str, Scored]
PREFERENCES = (kinds.Rank, kinds.KTO, kinds.PairList, kinds.TopOne, kinds.PolicyGradient)
"""Kinds of terms that prefer one answer over another, so that their rewards can be shown."""
Rewards = tuple[Tensor, Tensor, Tensor]
"""Of each record: reward of the preferred side, of the other one, and whether they are in order."""


def evaluate(term: kinds.Term, batch: Batch, base: Tensor | None = None) -> Tensor:
    """The unweighted value of ``term`` for each record, ``[B]``.

    Args:
        term: what to compute.
        batch: the scored sequences by name; those of one term hold the same records in the same order.
        base: z of KTO, a scalar.
    """
    parts = [batch[name] for name in term.sequences]
    match term:
        case kinds.Rank():
            return _rank(term, *parts)
        case kinds.KL():
            both = (parts[0].kl(forward=forward) for forward in (True, False))
            forward_kl, reverse_kl = (terms.masked_sum(kl, parts[0].mask(term.scope)) for kl in both)
            return term.forward * forward_kl + (1.0 - term.forward) * reverse_kl
        case kinds.NLL():
            mask = parts[0].mask(term.scope)
            return -(terms.masked_mean if term.norm == "mean" else terms.masked_sum)(parts[0].policy, mask)
        case kinds.Anchor():
            return functional.softplus(term.delta - term.beta * parts[0].log_ratio(term.scope))
        case kinds.Odds():
            return terms.odds_ratio(*(terms.masked_mean(part.policy, part.response) for part in parts))
        case kinds.KTO():
            return _prospect(term, *parts, base=base)
        case kinds.MarginSquare():
            first, second, third, fourth = (part.log_ratio("response") for part in parts)
            return ((first - second) - (third - fourth)) ** 2
        case kinds.K3():
            here, there = parts
            return terms.masked_mean(terms.k3(here.policy, there.policy.detach(), term.cap), here.response)
        case kinds.Degree():
            return sum((_degree(part) for part in parts), start=torch.zeros_like(parts[0].policy[:, 0]))
        case _:
            return _listwise(term, parts[0])


def leading(terms: Sequence[kinds.Term]) -> kinds.Term | None:
    """The first term with a preference: its rewards are those that step records show."""
    return next((term for term in terms if isinstance(term, PREFERENCES)), None)


def rewards(term: kinds.Term, batch: Batch) -> Rewards | None:
    """Rewards (beta included, nats) that step records show, ``[B]`` each; None for a term without a preference."""
    parts = [batch[name] for name in term.sequences]
    match term:
        case kinds.Rank():
            better, worse = (term.beta * score for score in _scores(term, *parts))
        case kinds.KTO():
            better, worse = (term.beta * part.log_ratio("response") for part in parts)
        case kinds.PairList() | kinds.TopOne() | kinds.PolicyGradient():
            scores, present = parts[0].as_list(term.beta * parts[0].log_ratio("response"))
            last = present.sum(-1, keepdim=True) - 1
            better, worse = scores[:, 0], scores.gather(1, last)[:, 0]
        case _:
            return None
    return better, worse, better > worse


def _rank(term: kinds.Rank, better: Scored, worse: Scored) -> Tensor:
    first, second = _scores(term, better, worse)
    if term.kl:
        of_worse, of_better = (_weighted_kl(term, part) for part in (worse, better))
        first = first - term.kl * (of_worse - (of_better.detach() if term.kl_detach else of_better))
    if term.flip:
        return terms.smoothed(term.beta * (first - second), better.fact("flip"))
    match term.link:
        case "sigmoid":
            return functional.softplus(term.margin - term.beta * (first - second))
        case "robust":
            return terms.robust(term.beta * (first - second), term.epsilon)
        case "hinge":
            return torch.relu(1.0 - term.beta * (first - second))
        case "ipo":
            return terms.squared_gap(first, second, term.beta)
        case "nca":
            return terms.noise_contrastive(first, second, term.beta)
        case "sppo":
            return terms.self_play(first, second, term.beta)
        case _:
            return terms.apo(first, second, term.beta, zero=term.link == "apo-zero")


def _scores(term: kinds.Rank, better: Scored, worse: Scored) -> tuple[Tensor, Tensor]:
    """What the link compares: log-ratios or log-probabilities of both sides, ``[B]``, beta not included."""
    if term.references == 2:
        return _against_both(term, better, worse)
    return _score(term, better), _score(term, worse)


def _score(term: kinds.Rank, part: Scored) -> Tensor:
    mask, weights = part.mask(term.scope), _token_weights(term, part)
    reference = part.reference if term.reference else torch.zeros_like(part.policy)
    total = terms.log_ratio(part.policy, reference, mask, weights)
    if term.norm == "sum":
        return total
    size = mask.sum(-1) if weights is None else terms.masked_sum(weights, mask)
    return total / torch.where(size > 0, size, 1)


def _against_both(term: kinds.Rank, better: Scored, worse: Scored) -> tuple[Tensor, Tensor]:
    def sums(name: str) -> Tensor:
        sides = (terms.masked_sum(getattr(part, name), part.mask(term.scope)) for part in (better, worse))
        return torch.stack(list(sides), dim=-1)

    scores = sums("policy") - terms.composite(sums("second"), sums("reference"), term.clip)
    return scores[:, 0], scores[:, 1]


def _token_weights(term: kinds.Rank, part: Scored) -> Tensor | None:
    if term.weigh == "none":
        return None
    if term.weigh == "record":
        if part.weights is None:
            raise ValueError("a term needs token weights, which were not prepared")
        return part.weights
    return torch.where(part.span, term.span_weight, 1.0).to(part.policy.dtype)


def _weighted_kl(term: kinds.Rank, part: Scored) -> Tensor:
    divergence, weights = part.kl(forward=term.kl_forward), _token_weights(term, part)
    return terms.masked_sum(divergence if weights is None else weights * divergence, part.mask(term.scope))


def _prospect(term: kinds.KTO, chosen: Scored, rejected: Scored, *, base: Tensor | None) -> Tensor:
    """Mean over the answers of a record; both sides of a pair, or the one that is there."""
    zero = chosen.policy.new_zeros(()) if base is None else base.to(chosen.policy.dtype)
    total, count = torch.zeros_like(chosen.policy[:, 0]), torch.zeros_like(chosen.policy[:, 0])
    for part, good, weight in ((chosen, True, term.desirable), (rejected, False, term.undesirable)):
        ratio, there = part.log_ratio("response"), part.fact("there")
        label = torch.full_like(ratio, good, dtype=torch.bool)
        total = total + weight * there * terms.prospect(ratio, label, zero, term.beta)
        count = count + there
    return total / count


def _degree(part: Scored) -> Tensor:
    if part.classes is None:
        raise ValueError("a term needs the auxiliary head, which was not prepared")
    return functional.cross_entropy(part.classes, part.fact("degree").long(), reduction="none")


def _listwise(term: kinds.Term, part: Scored) -> Tensor:
    """Terms over a list: entries of one record become one row."""
    if isinstance(term, kinds.PolicyGradient):
        return _rollouts(term, part)
    scores, present = part.as_list(part.log_ratio("response"))
    match term:
        case kinds.PairList():
            rewards_, _ = part.as_list(part.fact("reward"))
            return terms.pair_list(scores, rewards_, present, term.beta, term.gamma)
        case kinds.TopOne():
            return terms.top_one(scores, present, term.beta)
        case kinds.PlackettLuce():
            return terms.plackett_luce(scores, present, term.beta)
    raise ValueError(f"unknown term {term.key}")


def _rollouts(term: kinds.PolicyGradient, part: Scored) -> Tensor:
    ratio = part.log_ratio("response")
    scores, _ = part.as_list(ratio)
    reward, _ = part.as_list(part.fact("reward") - term.beta * ratio.detach())
    drift, _ = part.as_list(terms.masked_sum(part.policy, part.response).detach() - part.fact("old"))
    return terms.policy_gradient(scores, reward, drift, term.ratio_cap)
