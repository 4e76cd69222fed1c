"""What must hold of every objective: identities, invariances, extremes, gradients."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from data.toy import LIST, at_start, loss, of_ratios, rollouts, scored, stacked, toy, twins
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from medpo_cli.schema.objectives import KL, KTO, Anchor, PairList, PlackettLuce, Rank, TopOne
from medpo_cli.training.objectives import terms
from medpo_cli.training.objectives.evaluate import evaluate
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.objectives.table import METHODS

FULL = {name: [1, 1, 1] for name in ("+", "-", "'+", "'-")}


def batch_for(method: str) -> dict[str, Scored]:
    batch = toy()
    batch |= {"r": batch["+"], "'r": batch["'+"]}
    return twins() if method == "sympo" else rollouts() if method == "p3o" else batch


# Identities


def test_methods_reduce_to_dpo_with_full_masks() -> None:
    full = toy(FULL)
    expected = loss(resolve("dpo"), full)
    assert loss(resolve("fire-mpo", gamma=0.0, alpha=0.0), full) == expected
    assert loss(resolve("rrpo", alpha=0.0), full) == expected
    assert loss(resolve("mask-dpo"), full) == expected
    assert loss(resolve("rpo", beta=0.1, nll=0.0), full) == expected


def test_fire_mpo_reduces_to_rrpo_and_mask_dpo() -> None:
    rrpo = resolve("fire-mpo", gamma=0.0, kl_forward=1.0, kl_scope="response")
    assert loss(rrpo, toy()) == loss(resolve("rrpo"), toy())
    assert loss(resolve("fire-mpo", gamma=0.0, alpha=0.0), toy()) == loss(resolve("mask-dpo"), toy())


def test_weights_of_one_change_nothing() -> None:
    batch = toy()
    ones = {name: replace(batch[name], weights=torch.ones(1, 3, dtype=torch.float64)) for name in ("+", "-")}
    assert loss(resolve("tis-dpo"), ones) == loss(resolve("dpo"), batch)
    assert loss((Rank(weigh="span", span_weight=1.0),), batch) == loss(resolve("dpo"), batch)


def test_lists_of_two_reduce_to_dpo() -> None:
    pair = {"*": of_ratios([1.4, 0.6], reward=[0.9, 0.1]), "#": of_ratios([1.4, 0.6])}
    expected = math.log(1 + (1.4 / 0.6) ** -0.1)
    for term in (
        PairList(gamma=0.5),
        PairList(gamma=2.0),
        TopOne(beta=0.1),
        PlackettLuce(),
        PlackettLuce(sequence="*"),
    ):
        assert loss((term,), pair) == pytest.approx(expected, abs=1e-12)


def test_rosepo_without_doubt_is_dpo_and_robust_without_noise_too() -> None:
    batch = {name: replace(part, facts={"flip": torch.zeros(1)}) for name, part in toy().items() if name in "+-"}
    assert loss(resolve("rosepo"), batch) == pytest.approx(loss(resolve("dpo"), batch), abs=1e-15)
    assert loss((Rank(link="robust"),), batch) == pytest.approx(loss(resolve("dpo"), batch), abs=1e-15)


def test_equal_references_make_mrpo_dpo() -> None:
    batch = {name: replace(part, second=part.reference) for name, part in toy().items() if name in "+-"}
    assert loss(resolve("mrpo"), batch) == pytest.approx(loss(resolve("dpo"), batch), abs=1e-12)


def test_an_anchor_is_dpo_against_a_zero_ratio() -> None:
    batch = toy()
    zero = replace(batch["-"], policy=batch["-"].reference)
    assert loss((Anchor(),), batch) == loss(resolve("dpo"), {**batch, "-": zero})


# Invariances


def longer(part: Scored) -> Scored:
    """Two tokens of padding full of infinities."""
    junk = torch.full((len(part.policy), 2), -math.inf, dtype=torch.float64)
    off = torch.zeros(len(part.policy), 2, dtype=torch.bool)
    floats = ("policy", "reference", "weights", "forward_kl", "reverse_kl", "second")
    grown = {name: getattr(part, name) for name in (*floats, "span", "response", "sentence")}
    more = {
        name: torch.cat([value, junk if name in floats else off], 1)
        for name, value in grown.items()
        if value is not None
    }
    return replace(part, **more)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_padding_changes_nothing(method: str) -> None:
    batch = batch_for(method)
    padded = {name: longer(part) for name, part in batch.items()}
    assert loss(resolve(method), padded) == pytest.approx(loss(resolve(method), batch), abs=1e-14)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_records_are_computed_alone(method: str) -> None:
    batch = batch_for(method)
    other = {name: replace(part, policy=part.policy - 0.25 * (i + 1)) for i, (name, part) in enumerate(batch.items())}
    both = {name: stacked(batch[name], other[name]) for name in batch}
    for term in METHODS[method].terms:
        together, alone = evaluate(term, both), [evaluate(term, one) for one in (batch, other)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-14)


def test_lists_of_different_lengths_side_by_side() -> None:
    one, two = of_ratios([1.4, 1.2, 0.6], reward=[0.9, 0.5, 0.1]), of_ratios([1.1, 0.7], reward=[1.0, 0.0])
    for term in (PairList(), TopOne(), PlackettLuce(sequence="*")):
        together = evaluate(term, {"*": stacked(one, two)})
        alone = torch.cat([evaluate(term, {"*": part}) for part in (one, two)])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


def test_perpo_does_not_care_for_the_order_of_the_list() -> None:
    values = [(ratio, reward) for ratio, reward in LIST]
    back = of_ratios([ratio for ratio, _ in values[::-1]], reward=[reward for _, reward in values[::-1]])
    assert loss((PairList(),), {"*": back}) == pytest.approx(loss((PairList(),), toy()), abs=1e-14)


def test_p3o_does_not_care_for_a_shift_of_both_rewards() -> None:
    batch = rollouts()
    shifted = replace(batch["*"], facts={**batch["*"].facts, "reward": batch["*"].facts["reward"] + 7.0})
    assert loss(resolve("p3o"), {"*": shifted}) == pytest.approx(loss(resolve("p3o"), batch), abs=1e-12)


# Extremes


def far(batch: Mapping[str, Scored], gap: float) -> tuple[dict[str, Scored], list[Tensor]]:
    """The batch in float32 with every chosen sequence ``gap`` nats from every rejected one."""
    made, leaves = {}, []
    for name, part in batch.items():
        sign = torch.linspace(1, -1, len(part.policy))[:, None] if name in "*#" else -1.0 if name[-1] in "-2" else 1.0
        policy = (torch.zeros_like(part.policy).float() - 1e4 + sign * gap / 2 / part.policy.shape[1]).requires_grad_()
        leaves.append(policy)
        kl = None if part.forward_kl is None else (policy - policy.detach()) ** 2 + 1e4
        floats = {
            key: value.float()
            for key in ("reference", "weights", "second", "classes")
            if (value := getattr(part, key)) is not None
        }
        floats["reference"] = torch.full_like(policy.detach(), -1e4)
        made[name] = replace(part, policy=policy, forward_kl=kl, reverse_kl=kl, **floats)
    return made, leaves


@pytest.mark.parametrize("gap", [1e4, -1e4])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_extreme_gaps_stay_finite_in_float32(method: str, gap: float) -> None:
    batch, leaves = far(batch_for(method), gap)
    value = torch.stack([term.weight * evaluate(term, batch).mean() for term in METHODS[method].terms]).sum()
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    for leaf in leaves:
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_values_at_extreme_gaps() -> None:
    policy = torch.tensor([[5e3]], requires_grad=True)
    zero, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    for sign, expected, slope in ((1, 0.0, 0.0), (-1, 5000.0, -1.0)):
        better = sign * terms.log_ratio(policy, zero, mask)
        value = terms.bradley_terry(better, -better, 0.5)
        (gradient,) = torch.autograd.grad(value.sum(), policy)
        assert value.item() == expected
        assert sign * gradient.item() == slope
    # The released S-DPO gives 0 with a NaN gradient 110 nats ahead and infinity 90 behind.
    for lead, expected in ((110.0, 0.0), (-90.0, 90.0), (1e4, 0.0), (-1e4, 1e4)):
        scores = torch.tensor([[lead, 0.0]], requires_grad=True)
        value = terms.top_one(scores, torch.ones(1, 2, dtype=torch.bool), 1.0)
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        assert value.item() == pytest.approx(expected, abs=1e-6)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("level", [900.0, -1100.0, 1e4])
def test_plackett_luce_depends_on_differences_only(level: float) -> None:
    scores = torch.full((1, 5), level, requires_grad=True)
    value = terms.plackett_luce(scores, torch.ones(1, 5, dtype=torch.bool), 1.0)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert value.item() == pytest.approx(math.log(120), abs=2e-3)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_tied_rewards_are_no_preference() -> None:
    scores = torch.tensor([[3.0, 1.0, -2.0]], requires_grad=True)
    present = torch.ones(1, 3, dtype=torch.bool)
    value = terms.pair_list(scores, torch.full((1, 3), 0.4), present, 0.1, 0.5)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()
    # one tie among three: only the untied pairs count, each with weight 1 under gamma 0
    partly = terms.pair_list(scores, torch.tensor([[0.9, 0.1, 0.1]]), present, 0.1, 0.0)
    pairs = [math.log1p(math.exp(-0.1 * (3.0 - s))) for s in (1.0, -2.0)]
    assert partly.item() == pytest.approx(sum(pairs) / 2, abs=1e-6)


@pytest.mark.parametrize("forward", [0.0, 0.5, 1.0])
def test_kl_of_disjoint_rows_is_finite_in_float32(forward: float) -> None:
    logits = torch.tensor([[0.0, -1e4, -math.inf]], requires_grad=True)
    reference = torch.tensor([[-1e4, 0.0, -math.inf]])
    both = terms.kl_rows(logits.log_softmax(-1), reference.log_softmax(-1))
    value = forward * both[0] + (1 - forward) * both[1]
    value.sum().backward()  # type: ignore[no-untyped-call]
    # All the mass sits where the other has e^-10000: either direction is 10000 nats.
    assert value.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad[:, :2]).all()


def test_the_likeliest_answer_has_finite_odds() -> None:
    certain = torch.zeros(1, requires_grad=True)
    value = terms.odds_ratio(certain, torch.full((1,), -1e4))
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0.0
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


def test_k3_is_capped() -> None:
    policy = torch.tensor([[-1e4, -1.0, -2.0]], requires_grad=True)
    other = torch.tensor([[0.0, -1.0, -1e4]])
    value = terms.k3(policy, other, 10.0)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert value.tolist() == [[10.0, 0.0, 10.0]]
    assert policy.grad is not None
    assert torch.isfinite(policy.grad).all()


# Edges


def test_empty_span_on_a_side_sums_to_zero() -> None:
    empty = torch.zeros(1, 3, dtype=torch.bool)
    batch = toy()
    batch["-"] = replace(batch["-"], span=empty)
    rank, _, kl = METHODS["fire-mpo"].terms
    assert loss((rank,), batch) == pytest.approx(math.log(1 + (1.25 * 1.2) ** -0.1), abs=1e-12)
    assert loss((kl,), {"+": replace(batch["+"], span=empty)}) == 0.0
    assert float(terms.masked_mean(batch["+"].policy, empty)) == 0.0
    assert loss((Rank(scope="span", norm="mean"),), batch) == pytest.approx(
        math.log1p(math.exp(-0.1 * math.log(1.5) / 2)), abs=1e-12
    )


@pytest.mark.parametrize("method", ["dpo", "ipo", "simpo", "orpo", "kto", "tdpo2", "rpo"])
def test_one_token_answers(method: str) -> None:
    batch = {}
    for name, part in toy().items():
        if name in ("+", "-"):
            cut = {
                key: value[:, :1] for key, value in vars(part).items() if isinstance(value, Tensor) and value.ndim == 2
            }
            batch[name] = replace(part, **{key: value for key, value in cut.items() if key != "classes"})
    value = loss(resolve(method), batch)
    assert math.isfinite(value)
    if method == "dpo":
        assert value == pytest.approx(math.log(1 + 1.5**-0.1), abs=1e-12)


def test_kto_counts_the_side_that_is_there() -> None:
    batch = toy()
    alone = {**batch, "-": replace(batch["-"], facts={"there": torch.zeros(1)})}
    assert loss((KTO(),), alone, base=0.05) == pytest.approx(0.480986, abs=6e-7)
    other = {**batch, "+": replace(batch["+"], facts={"there": torch.zeros(1)})}
    assert loss((KTO(),), other, base=0.05) == pytest.approx(0.497729, abs=6e-7)


def test_what_was_not_prepared_is_named() -> None:
    bare = {
        name: replace(part, forward_kl=None, weights=None, second=None, classes=None, facts={})
        for name, part in toy().items()
    }
    for method, missing in (
        ("rrpo", "KL"),
        ("tis-dpo", "weights"),
        ("rosepo", "flip"),
        ("spo", "head"),
        ("perpo", "reward"),
    ):
        with pytest.raises(ValueError, match=missing):
            loss(resolve(method), bare)


# Gradients


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_gradient_of_the_ranking(beta: float) -> None:
    better = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    worse = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)
    terms.bradley_terry(better, worse, beta).sum().backward()  # type: ignore[no-untyped-call]
    expected = beta / (1 + math.exp(beta * 0.5))  # beta sigmoid(-beta gap), gap .5
    assert better.grad is not None
    assert worse.grad is not None
    assert better.grad.item() == pytest.approx(-expected, abs=1e-12)
    assert worse.grad.item() == pytest.approx(expected, abs=1e-12)


def test_tdpo2_leaves_the_kl_of_the_chosen_alone() -> None:
    for method, moves in (("tdpo1", True), ("tdpo2", False)):
        batch = toy()
        kl = {name: batch[name].forward_kl.clone().requires_grad_() for name in ("+", "-")}  # type: ignore[union-attr]
        parts = {name: replace(batch[name], forward_kl=kl[name]) for name in ("+", "-")}
        evaluate(METHODS[method].terms[0], parts).sum().backward()  # type: ignore[no-untyped-call]
        assert (kl["+"].grad is not None) is moves
        assert kl["-"].grad is not None


def test_no_gradient_reaches_the_corrupted_side_of_papo() -> None:
    (papo,) = (term for term in resolve("dpo", papo=0.01) if term.key == "papo")
    batch = toy()
    leaves = {name: batch[name].policy.clone().requires_grad_() for name in ("+", "'+")}
    parts = {name: replace(batch[name], policy=leaves[name]) for name in leaves}
    evaluate(papo, parts).sum().backward()  # type: ignore[no-untyped-call]
    assert leaves["+"].grad is not None
    assert leaves["'+"].grad is None


def test_the_policy_gradient_is_that_of_its_theorem() -> None:
    batch = rollouts(0.5)
    policy = batch["*"].policy.clone().requires_grad_()
    term = METHODS["p3o"].terms[0]
    evaluate(term, {"*": replace(batch["*"], policy=policy)}).sum().backward()  # type: ignore[no-untyped-call]
    drift = batch["*"].log_ratio("response")
    gap = 0.9 - 0.1 - 0.1 * float(drift[0] - drift[1])
    expected = torch.tensor([[-0.5], [0.5]], dtype=torch.float64) * math.e * gap
    torch.testing.assert_close(policy.grad, expected.expand(2, 3), rtol=0, atol=1e-12)


rows = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


@settings(max_examples=50, deadline=None)
@given(rows, rows)
def test_kl_is_not_negative_and_zero_at_equality(left: list[float], right: list[float]) -> None:
    p, q = (torch.tensor(x, dtype=torch.float64).log_softmax(-1) for x in (left, right))
    assert all(float(kl) >= -1e-12 for kl in terms.kl_rows(p, q))
    assert [float(kl) for kl in terms.kl_rows(p, p)] == [0.0, 0.0]


def test_gradient_of_the_kl_matches_finite_differences() -> None:
    reference: Tensor = torch.tensor([[0.4, 0.4, 0.2]], dtype=torch.float64).log()
    logits = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log().requires_grad_()

    def both(z: Tensor) -> Any:
        return terms.kl_rows(z.log_softmax(-1), reference)

    assert torch.autograd.gradcheck(both, (logits,))


def test_scored_rows_can_be_picked() -> None:
    part = stacked(scored("+"), scored("'+"), scored("+"))
    picked = part.take(torch.tensor([0, 2]))
    assert len(picked.policy) == 2
    assert picked.owner is not None
    assert picked.owner.tolist() == [0, 2]
    assert loss((KL(),), {"+": picked}) == loss((KL(),), toy())
    assert at_start({"+": part})["+"].policy is part.reference
