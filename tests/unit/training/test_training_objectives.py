"""Objectives against hand arithmetic on one toy pair: V = 3, three answer tokens, the label is index 0.

Per position ``pi | ref``; the label ratios pi/ref are what the sums of logs multiply up to:
(v, y+)  span 0 1 1   .3/.2 = 1.5   .5/.4 = 1.25   .6/.5 = 1.2
(v, y-)  span 0 1 0   .5/.5 = 1     .2/.25 = .8    .3/.25 = 1.2
(v', y+) span 0 1 1   1   .75   1        (v', y-) span 0 1 0   1   1.2   1
With x the product of the ratios, -log sigmoid(beta ln x) = ln(1 + x^-beta).
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from medpo_cli.errors import ConfigError
from medpo_cli.training.objectives import terms
from medpo_cli.training.objectives.methods import METHODS, Scored, Term, evaluate, resolve

POLICY = {
    "+": [[0.3, 0.5, 0.2], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]],
    "-": [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3]],
    "'+": [[0.2, 0.4, 0.4], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2]],
    "'-": [[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.25, 0.5, 0.25]],
}
REFERENCE = {
    "+": [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]],
    "-": [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]],
    "'+": [[0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]],
    "'-": [[0.5, 0.3, 0.2], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]],
}
NO_ROWS = torch.zeros(0, 3, dtype=torch.float64)
SPAN = {"+": [0, 1, 1], "-": [0, 1, 0], "'+": [0, 1, 1], "'-": [0, 1, 0]}


def nls(product: float, beta: float = 0.1) -> float:
    return math.log(1 + product**-beta)


def scored(name: str, span: list[int] | None = None, kl: str = "span") -> Scored:
    policy = torch.tensor(POLICY[name], dtype=torch.float64).log()
    reference = torch.tensor(REFERENCE[name], dtype=torch.float64).log()
    mask = torch.tensor([span or SPAN[name]]).bool()
    response = torch.ones(1, 3, dtype=torch.bool)
    rows = (mask if kl == "span" else response)[0]
    return Scored(policy[None, :, 0], reference[None, :, 0], mask, response, policy[rows], reference[rows])


def toy(kl: str = "span", spans: dict[str, list[int]] | None = None) -> dict[str, Scored]:
    return {name: scored(name, (spans or {}).get(name), kl) for name in POLICY}


def loss(chosen: tuple[Term, ...], batch: dict[str, Scored]) -> float:
    return float(sum(term.weight * evaluate(term, batch).mean() for term in chosen))


def kl_by_hand(rows: list[int], forward: float) -> float:
    total = 0.0
    for t in rows:
        for p, r in zip(POLICY["+"][t], REFERENCE["+"][t], strict=True):
            total += forward * r * math.log(r / p) + (1 - forward) * p * math.log(p / r)
    return total


RANK_SPAN = nls(1.25 * 1.2 / 0.8)  # .662211
VISUAL = nls(1.2 / 0.75)  # .669923
RANK_ALL = nls(1.5 * 1.25 * 1.2 / (1 * 0.8 * 1.2))  # .651466


@pytest.mark.parametrize(
    ("method", "overrides", "kl", "expected", "reference_page"),
    [
        ("fire-mpo", {}, "span", RANK_SPAN + 0.1 * VISUAL + 0.01 * kl_by_hand([1, 2], 0.5), 0.730282),
        ("fire-mpo", {"gamma": 0.0}, "span", RANK_SPAN + 0.01 * kl_by_hand([1, 2], 0.5), 0.663290),
        ("fire-mpo", {"gamma": 0.0, "kl_forward": 1.0}, "span", RANK_SPAN + 0.01 * kl_by_hand([1, 2], 1.0), 0.663392),
        ("dpo", {}, "span", RANK_ALL, 0.651466),
        ("mask-dpo", {}, "span", RANK_SPAN, 0.662211),
        ("rrpo", {}, "response", RANK_SPAN + 0.01 * kl_by_hand([0, 1, 2], 1.0), 0.663798),
        ("sft", {}, "span", -math.log(0.3 * 0.5 * 0.6) / 3, 0.802649),
        ("dpo", {"nll": 0.2}, "span", RANK_ALL - 0.2 * math.log(0.3 * 0.5 * 0.6) / 3, 0.811996),  # RPO (b)
    ],
)
def test_toy_value(method: str, overrides: dict[str, float], kl: str, expected: float, reference_page: float) -> None:
    value = loss(resolve(method, **overrides), toy(kl))  # type: ignore[arg-type]
    assert value == pytest.approx(expected, abs=1e-9)
    assert value == pytest.approx(reference_page, abs=6e-7)


def test_mask_dpo_with_sentence_labels_of_the_original() -> None:
    # y+ keeps its factual tokens 1 1 0, y- its hallucinated ones 0 1 1.
    batch = toy(spans={"+": [1, 1, 0], "-": [0, 1, 1]})
    value = loss(resolve("mask-dpo"), batch)
    assert value == pytest.approx(nls(1.5 * 1.25 / (0.8 * 1.2)), abs=1e-9)
    assert value == pytest.approx(0.660236, abs=6e-7)


@pytest.mark.parametrize(
    ("worse", "product", "reference_page"),
    [("'+", 1.25 * 1.2 / 0.75, 0.659090), ("'-", 1.25 * 1.2 / 1.2, 0.682052)],
)
def test_ablations_v1_and_v2(worse: str, product: float, reference_page: float) -> None:
    term = Term("rank", "rank", ("+", worse), "span")
    value = float(evaluate(term, toy()))
    assert value == pytest.approx(nls(product), abs=1e-9)
    assert value == pytest.approx(reference_page, abs=6e-7)


@pytest.mark.parametrize(("forward", "reference_page"), [(1.0, 0.118147), (0.0, 0.097727)])
def test_kl_directions(forward: float, reference_page: float) -> None:
    value = float(evaluate(Term("kl", "kl", ("+",), "span", forward=forward), toy()))
    assert value == pytest.approx(kl_by_hand([1, 2], forward), abs=1e-12)
    assert value == pytest.approx(reference_page, abs=6e-7)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("fire-mpo", 1.1 * math.log(2)), ("dpo", math.log(2)), ("rrpo", math.log(2)), ("mask-dpo", math.log(2))],
)
def test_loss_when_policy_is_the_reference(method: str, expected: float) -> None:
    batch = {
        name: replace(item, policy=item.reference, policy_rows=item.reference_rows)
        for name, item in toy("response" if method == "rrpo" else "span").items()
    }
    assert loss(METHODS[method], batch) == pytest.approx(expected, abs=1e-12)


def test_methods_reduce_to_dpo_with_full_masks() -> None:
    full = toy(spans={name: [1, 1, 1] for name in POLICY})
    expected = loss(resolve("dpo"), full)
    assert loss(resolve("fire-mpo", gamma=0.0, alpha=0.0), full) == expected
    assert loss(resolve("rrpo", alpha=0.0), full) == expected
    assert loss(resolve("mask-dpo"), full) == expected


def test_padding_and_batch_split_change_nothing() -> None:
    padded = {}
    for name, item in toy().items():
        junk = torch.full((1, 2), -math.inf, dtype=torch.float64)
        off = torch.zeros(1, 2, dtype=torch.bool)
        padded[name] = replace(
            item,
            policy=torch.cat([item.policy, junk], 1),
            reference=torch.cat([item.reference, junk], 1),
            span=torch.cat([item.span, off], 1),
            response=torch.cat([item.response, off], 1),
        )
    other = {name: replace(item, policy=item.policy - 0.25) for name, item in padded.items()}
    both = {name: stack(padded[name], other[name]) for name in padded}
    for term in METHODS["fire-mpo"]:
        alone = evaluate(term, toy())
        torch.testing.assert_close(evaluate(term, padded), alone, rtol=0, atol=0)
        torch.testing.assert_close(evaluate(term, both), torch.cat([alone, evaluate(term, other)]), rtol=0, atol=0)


def stack(first: Scored, second: Scored) -> Scored:
    rows = [(first.policy_rows, second.policy_rows), (first.reference_rows, second.reference_rows)]
    return Scored(
        *(torch.cat([getattr(first, f), getattr(second, f)]) for f in ("policy", "reference", "span", "response")),
        *(torch.cat([a, b]) for a, b in rows if a is not None and b is not None),
    )


@pytest.mark.parametrize("gap", [1e4, -1e4])
def test_extreme_gaps_stay_finite_in_float32(gap: float) -> None:
    policy = torch.tensor([[gap / 2]], requires_grad=True)
    zero, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    better = terms.log_ratio(policy, zero, mask)
    value = terms.bradley_terry(better, -better, 0.5)
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert value.item() == (0.0 if gap > 0 else pytest.approx(5000.0))
    assert policy.grad is not None
    assert policy.grad.item() == (0.0 if gap > 0 else pytest.approx(-1.0))


@pytest.mark.parametrize("forward", [0.0, 0.5, 1.0])
def test_kl_of_disjoint_rows_is_finite_in_float32(forward: float) -> None:
    logits = torch.tensor([[0.0, -1e4, -math.inf]], requires_grad=True)
    reference = torch.tensor([[-1e4, 0.0, -math.inf]])
    value = terms.bidirectional_kl(logits.log_softmax(-1), reference.log_softmax(-1), forward)
    value.sum().backward()  # type: ignore[no-untyped-call]
    # All the mass sits where the other has e^-10000: either direction is 10000 nats.
    assert value.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad[:, :2]).all()


def test_empty_span_on_a_side_sums_to_zero() -> None:
    batch = toy(spans={"-": [0, 0, 0]})
    batch["-"] = replace(batch["-"], span=torch.zeros(1, 3, dtype=torch.bool))
    assert float(evaluate(METHODS["fire-mpo"][0], batch)) == pytest.approx(nls(1.25 * 1.2), abs=1e-12)
    empty = torch.zeros(1, 3, dtype=torch.bool)
    item = replace(batch["+"], span=empty, policy_rows=NO_ROWS, reference_rows=NO_ROWS)
    assert float(evaluate(METHODS["fire-mpo"][2], batch | {"+": item})) == 0.0
    assert float(terms.mean_nll(batch["+"].policy, empty)) == 0.0


def test_one_token_answer() -> None:
    batch = {
        name: Scored(item.policy[:, :1], item.reference[:, :1], *[torch.ones(1, 1, dtype=torch.bool)] * 2)
        for name, item in toy().items()
    }
    assert loss(resolve("dpo"), batch) == pytest.approx(nls(1.5 / 1.0), abs=1e-12)


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


rows = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


@settings(max_examples=50, deadline=None)
@given(rows, rows, st.floats(0, 1))
def test_kl_is_not_negative_and_zero_at_equality(left: list[float], right: list[float], forward: float) -> None:
    p, q = (torch.tensor(x, dtype=torch.float64).log_softmax(-1) for x in (left, right))
    assert float(terms.bidirectional_kl(p, q, forward)) >= -1e-12
    assert float(terms.bidirectional_kl(p, p, forward)) == 0.0


def test_gradient_of_the_kl_matches_finite_differences() -> None:
    reference: Tensor = torch.tensor([REFERENCE["+"][1]], dtype=torch.float64).log()
    logits = torch.tensor([POLICY["+"][1]], dtype=torch.float64).log().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: terms.bidirectional_kl(z.log_softmax(-1), reference, 0.3), (logits,))


def test_resolve_overrides_and_refusals() -> None:
    recipe = {term.name: term for term in resolve("fire-mpo", beta=0.5, gamma=0.5, nll=4.0)}
    assert [(t.name, t.weight) for t in recipe.values()] == [("rank", 1), ("visual", 0.5), ("kl", 0.01), ("nll", 4)]
    assert recipe["rank"].beta == recipe["visual"].beta == 0.5
    assert [t.name for t in resolve("fire-mpo", gamma=0.0, alpha=0.0)] == ["rank"]
    with pytest.raises(ConfigError, match="gamma: method dpo"):
        resolve("dpo", gamma=0.1)
    with pytest.raises(ConfigError, match="beta: method sft"):
        resolve("sft", beta=0.1)
    with pytest.raises(ConfigError, match="weight 0"):
        resolve("sft", nll=0.0)
    with pytest.raises(ConfigError, match="kl_forward: must lie between 0 and 1"):
        resolve("fire-mpo", kl_forward=1.5)
    with pytest.raises(ConfigError, match="beta: must lie between"):
        resolve("dpo", beta=math.nan)
    with pytest.raises(ConfigError, match="one of fire-mpo"):
        resolve("ppo")
    with pytest.raises(ValueError, match="vocabulary rows"):
        evaluate(METHODS["fire-mpo"][2], {"+": replace(toy()["+"], policy_rows=None)})
