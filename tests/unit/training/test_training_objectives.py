"""Methods against hand arithmetic on the toy of tests/data/toy.py."""

import math
from typing import Any, get_args

import msgspec
import pytest
from data.toy import LADDER, LIST, LN2, POLICY, REFERENCE, START, at_start, loss, nls, rollouts, toy, twins

from medpo_cli.errors import ConfigError
from medpo_cli.schema.config import Method
from medpo_cli.schema.objectives import KL, NLL, Anchor, AnyTerm, Rank
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.objectives.table import METHODS

CHOSEN, REJECTED = 1.5 * 1.25 * 1.2, 1 * 0.8 * 1.2  # ratios of the whole answers: 2.25, .96
BAD_CHOSEN = 0.75
RANK_SPAN = nls(1.25 * 1.2 / 0.8)  # .662211
VISUAL = nls(1.2 / 0.75)  # .669923
RANK_ALL = nls(CHOSEN / REJECTED)  # .651466
D = math.log(CHOSEN / REJECTED)
NLL_SUM = -math.log(0.3 * 0.5 * 0.6)


def kl_by_hand(rows: list[int], forward: float, name: str = "+") -> float:
    total = 0.0
    for t in rows:
        for p, r in zip(POLICY[name][t], REFERENCE[name][t], strict=True):
            total += forward * r * math.log(r / p) + (1 - forward) * p * math.log(p / r)
    return total


def tis(power: float = 1.0) -> float:
    """Ratio of the weighted products: 1.5 * 1.25^1.3 * 1.2^.7 over 1 * .8^1.3 * 1.2."""
    return (1.5 * 1.25**1.3 * 1.2**0.7 / (0.8**1.3 * 1.2)) ** power


def weighted_kl(name: str, weights: list[float]) -> float:
    return sum(w * kl_by_hand([t], 0.0, name) for t, w in enumerate(weights))


def pairs_of_the_list(gamma: float) -> float:
    total = weight = 0.0
    for i, (better, high) in enumerate(LIST):
        for worse, low in LIST[i + 1 :]:
            total += (high - low) ** gamma * nls(better / worse)
            weight += (high - low) ** gamma
    return total / weight


def plackett_luce_by_hand() -> float:
    """-sum of log(x_i^.1 / sum of x_j^.1 over all j from i on)."""
    return sum(math.log(sum(x**0.1 for x in LADDER[i:]) / LADDER[i] ** 0.1) for i in range(len(LADDER)))


def mrpo_by_hand() -> float:
    """Second reference is the toy's, base the other; sums .04, .03125 and .05, .025."""
    second, base = [math.log(0.04), math.log(0.03125)], [math.log(0.05), math.log(0.025)]
    size = [abs(a + b) / 2 for a, b in zip(second, base, strict=True)]
    room = [0.1 * s / sum(size) for s in size]
    near = [min(max(s, (1 + e) * b), (1 - e) * b) for s, b, e in zip(second, base, room, strict=True)]
    clear, plain = abs(second[0] - second[1]), abs(base[0] - base[1])
    a = clear / (clear + plain + 1e-6)
    assert a == pytest.approx(0.262615, abs=1e-6)
    mixed = [n + b - math.log(a * math.exp(n) + (1 - a) * math.exp(b)) for n, b in zip(near, base, strict=True)]
    gap = math.log(0.3 * 0.5 * 0.6) - mixed[0] - (math.log(0.5 * 0.2 * 0.3) - mixed[1])
    return math.log1p(math.exp(-0.1 * gap))


def odds_by_hand() -> float:
    good, bad = (0.3 * 0.5 * 0.6) ** (1 / 3), (0.5 * 0.2 * 0.3) ** (1 / 3)
    return math.log(1 + (bad / (1 - bad)) / (good / (1 - good)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


R_CHOSEN, R_REJECTED = 0.1 * math.log(CHOSEN), 0.1 * math.log(REJECTED)
MEAN_GAP = (math.log(0.3 * 0.5 * 0.6) - math.log(0.5 * 0.2 * 0.3)) / 3
K_CHOSEN, K_REJECTED = kl_by_hand([0, 1, 2], 1.0), kl_by_hand([0, 1, 2], 1.0, "-")  # .158693, .051027

# method, settings, by hand, as printed in the reference pages (6 digits)
VALUES: list[tuple[str, dict[str, Any], float, float]] = [
    ("fire-mpo", {}, RANK_SPAN + 0.1 * VISUAL + 0.01 * kl_by_hand([1, 2], 0.5), 0.730282),
    ("fire-mpo", {"gamma": 0.0}, RANK_SPAN + 0.01 * kl_by_hand([1, 2], 0.5), 0.663290),
    ("fire-mpo", {"gamma": 0.0, "kl_forward": 1.0}, RANK_SPAN + 0.01 * kl_by_hand([1, 2], 1.0), 0.663392),
    ("dpo", {}, RANK_ALL, 0.651466),
    ("mask-dpo", {}, RANK_SPAN, 0.662211),
    ("mask-dpo-sentence", {}, nls(1.5 * 1.25 / (0.8 * 1.2)), 0.660236),
    ("rrpo", {}, RANK_SPAN + 0.01 * kl_by_hand([0, 1, 2], 1.0), 0.663798),
    ("sft", {}, NLL_SUM / 3, 0.802649),
    ("rpo", {"beta": 0.1}, RANK_ALL + 0.2 * NLL_SUM / 3, 0.811996),
    ("rpo-sum", {"beta": 0.1, "nll": 0.005 * 0.1}, RANK_ALL + 0.0005 * NLL_SUM, 0.652670),
    ("ipo", {}, (D / 3 - 5) ** 2, 22.241435),
    ("hinge", {}, 1 - 0.1 * D, 0.914825),
    ("robust", {}, (0.8 * RANK_ALL - 0.2 * nls(REJECTED / CHOSEN)) / 0.6, 0.623074),
    ("nca", {}, nls(CHOSEN) + 0.5 * (nls(1 / CHOSEN) + nls(1 / REJECTED)), 1.366234),
    ("apo-zero", {}, 1 - sigmoid(R_CHOSEN) + sigmoid(R_REJECTED), 0.978717),
    ("sppo", {}, (math.log(CHOSEN) - 5) ** 2 + (math.log(REJECTED) + 5) ** 2, 42.141752),
    ("simpo", {}, math.log1p(math.exp(-(2 * MEAN_GAP - 1))), 0.835867),
    ("orpo", {}, NLL_SUM / 3 + 0.1 * odds_by_hand(), 0.846804),
    ("mdpo", {}, RANK_ALL + nls(CHOSEN / BAD_CHOSEN) + nls(CHOSEN), 1.944613),
    ("perpo", {}, pairs_of_the_list(0.5), 0.667749),
    ("perpo", {"gamma": 1.0}, pairs_of_the_list(1.0), 0.665078),
    ("s-dpo", {}, math.log((1.4 + 1.2 + 1.0 + 0.6) / 1.4), 1.098612),
    ("s-dpo", {"beta": 0.1}, math.log(sum(x**0.1 for x, _ in LIST) / 1.4**0.1), 1.353352),
    ("lpoi", {}, RANK_ALL + plackett_luce_by_hand() + nls(CHOSEN), 5.983186),
    ("tis-dpo", {}, nls(tis()), 0.647683),
    (
        "tis-dpo-kl",
        {},
        math.log1p(
            math.exp(
                -0.1
                * (
                    math.log(tis())
                    - 0.5 * (weighted_kl("+", [1, 1.3, 0.7]) - weighted_kl("-", [0.7, 1.3, 1]))
                )
            )
        ),
        0.649371,
    ),
    ("tdpo1", {}, math.log1p(math.exp(-0.1 * (D - (K_REJECTED - K_CHOSEN)))), 0.646326),
    ("tdpo2", {}, math.log1p(math.exp(-0.1 * (D - 0.5 * (K_REJECTED - K_CHOSEN)))), 0.648893),
    ("ddpo", {}, nls(1.5 * (1.25 * 1.2) ** 1.1 / (0.8**1.1 * 1.2)), 0.648462),
    ("rosepo", {}, 0.8 * RANK_ALL + 0.2 * nls(REJECTED / CHOSEN), 0.668501),
    ("mrpo", {}, mrpo_by_hand(), 0.661095),
    ("spo", {}, RANK_ALL + 0.2 * math.log(1 + math.exp(-1) + math.exp(-2)), 0.732987),
]  # fmt: skip


@pytest.mark.parametrize(("method", "settings", "expected", "printed"), VALUES)
def test_toy_value(method: str, settings: dict[str, Any], expected: float, printed: float) -> None:
    batch = toy()
    if method == "mrpo":  # the toy's second reference is the base here
        for name in ("+", "-"):
            part = batch[name]
            batch[name] = type(part)(**{**vars(part), "reference": part.second, "second": part.reference})
    value = loss(resolve(method, **settings), batch)
    assert value == pytest.approx(expected, abs=1e-9)
    assert value == pytest.approx(printed, abs=6e-7)


def test_toy_value_of_kto() -> None:
    chosen = 1 - sigmoid(0.1 * (math.log(CHOSEN) - 0.05))
    rejected = 1 - sigmoid(0.1 * (0.05 - math.log(REJECTED)))
    value = loss(resolve("kto"), toy(), base=0.05)
    assert value == pytest.approx((chosen + rejected) / 2, abs=1e-9)
    assert value == pytest.approx(0.489358, abs=6e-7)


def test_toy_value_of_symmpo() -> None:
    margin = (math.log(1.5 / 0.9) - math.log(1.4 / 1.0)) ** 2
    expected = nls(1.5 / 0.8) + 0.5 * (nls(1.5 / 0.9) + nls(1.4)) + nls(1.5) + nls(1.4) + 1e-4 * margin
    value = loss(resolve("sympo"), twins())
    assert value == pytest.approx(expected, abs=1e-9)
    assert value == pytest.approx(2.683957, abs=6e-7)


def test_toy_values_of_mmedpo() -> None:
    text, visual = METHODS["mmedpo"].terms
    assert loss((text,), toy()) * 0.8 == pytest.approx(0.521173, abs=6e-7)
    assert loss((visual,), toy()) == pytest.approx(nls(CHOSEN / BAD_CHOSEN), abs=1e-12)
    assert loss((visual,), toy()) * 0.8 == pytest.approx(0.511780, abs=6e-7)
    assert text.need_weight


def test_toy_value_of_opa_dpo_is_sequence_dpo() -> None:
    first = METHODS["opa-dpo"].terms[0]
    assert loss((first,), toy()) == pytest.approx(0.651466, abs=6e-7)
    batch = toy()
    batch |= {"r": batch["+"], "'r": batch["'+"]}
    expected = 2 * RANK_ALL + 0.4 * nls(CHOSEN / BAD_CHOSEN) + 2 * nls(CHOSEN)
    assert loss(resolve("opa-dpo"), batch) == pytest.approx(expected, abs=1e-9)


def test_toy_value_of_p3o() -> None:
    # -1/2 (.9 - .1) (ln 2.25 - ln .96), no KL penalty
    value = loss(resolve("p3o", beta=0.0), rollouts())
    assert value == pytest.approx(-0.4 * math.log(CHOSEN / REJECTED), abs=1e-9)
    assert value == pytest.approx(-0.340701, abs=6e-7)
    penalised = -0.5 * (0.8 - 0.1 * math.log(CHOSEN / REJECTED)) * math.log(CHOSEN / REJECTED)
    assert loss(resolve("p3o"), rollouts()) == pytest.approx(penalised, abs=1e-9)
    # drawn half a nat each below: weight e; far below: at most ten
    assert loss(resolve("p3o", beta=0.0), rollouts(0.5)) == pytest.approx(math.e * value, abs=1e-9)
    assert loss(resolve("p3o", beta=0.0), rollouts(50.0)) == pytest.approx(10 * value, abs=1e-9)


def test_toy_value_of_the_papo_term() -> None:
    # d = log pi(v') - log pi(v); k3 = e^d - d - 1
    gaps = [math.log(0.2 / 0.3), math.log(0.3 / 0.5), math.log(0.5 / 0.6)]
    k3 = sum(math.exp(d) - d - 1 for d in gaps) / 3
    term = resolve("dpo", papo=0.01)[-1]
    assert term.key == "papo"
    assert loss((term,), toy()) == pytest.approx(-0.01 * k3, abs=1e-12)
    assert k3 == pytest.approx(0.066204, abs=6e-7)


def test_ddpo_as_in_the_paper() -> None:
    term = Rank(weigh="span", span_weight=5.0, norm="mean", beta=0.5)
    # weights 1 5 5 and 1 5 1, averaged
    scores = [(math.log(1.5) + 5 * math.log(1.5)) / 11, (5 * math.log(0.8) + math.log(1.2)) / 7]
    value = loss((term,), toy())
    assert value == pytest.approx(math.log1p(math.exp(-0.5 * (scores[0] - scores[1]))), abs=1e-9)
    assert value == pytest.approx(0.608443, abs=6e-7)


@pytest.mark.parametrize(
    ("method", "product", "printed"),
    [("fire-mpo-v1", 1.25 * 1.2 / 0.75, 0.659090), ("fire-mpo-v2", 1.25 * 1.2 / 1.2, 0.682052)],
)
def test_ablations_v1_and_v2(method: str, product: float, printed: float) -> None:
    visual = next(term for term in METHODS[method].terms if term.key == "visual")
    assert loss((visual,), toy()) * 10 == pytest.approx(nls(product), abs=1e-9)
    assert nls(product) == pytest.approx(printed, abs=6e-7)


@pytest.mark.parametrize(("forward", "printed"), [(1.0, 0.118147), (0.0, 0.097727)])
def test_kl_directions(forward: float, printed: float) -> None:
    value = loss((KL(forward=forward),), toy())
    assert value == pytest.approx(kl_by_hand([1, 2], forward), abs=1e-12)
    assert value == pytest.approx(printed, abs=6e-7)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Rank(link="ipo"), (D - 5) ** 2),  # summed: 17.207960
        (Rank(norm="mean"), math.log1p(math.exp(-0.1 * D / 3))),  # .679052
        (Rank(norm="mean", reference=False, margin=0.5), math.log1p(math.exp(-(0.1 * MEAN_GAP - 0.5)))),  # .951440
        (Anchor(delta=0.3), math.log1p(math.exp(-(R_CHOSEN - 0.3)))),
        (NLL(scope="span"), -math.log(0.5 * 0.6) / 2),
    ],
)
def test_composed_terms(term: AnyTerm, expected: float) -> None:
    assert loss((term,), toy()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"simpo", "orpo"}))
def test_loss_when_policy_is_the_reference(method: str) -> None:
    batch = toy()
    batch |= {"r": batch["+"], "'r": batch["'+"]}
    batch = twins() if method == "sympo" else rollouts() if method == "p3o" else batch
    assert loss(resolve(method), at_start(batch)) == pytest.approx(START.get(method, LN2), abs=1e-12)


def test_every_method_is_a_setting_and_documented() -> None:
    assert list(get_args(Method)) == list(METHODS)
    for method in METHODS.values():
        assert method.source
        assert method.equation
        assert len({term.key for term in method.terms}) == len(method.terms)


def test_resolve_overrides_and_refusals() -> None:
    recipe = {term.key: term for term in resolve("fire-mpo", beta=0.5, gamma=0.5, nll=4.0)}
    assert [(t.key, t.weight) for t in recipe.values()] == [("rank", 1), ("visual", 0.5), ("kl", 0.01), ("nll", 4)]
    assert recipe["rank"].beta == recipe["visual"].beta == 0.5  # type: ignore[attr-defined]
    assert [t.key for t in resolve("fire-mpo", gamma=0.0, alpha=0.0)] == ["rank"]
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


def test_an_objective_composed_in_toml() -> None:
    given = [{"kind": "rank", "scope": "span"}, {"kind": "rank", "name": "visual", "better": "'-", "worse": "'+",
             "scope": "span", "weight": 0.1, "optional": True}, {"kind": "kl", "weight": 0.01}]  # fmt: skip
    terms = msgspec.convert(given, list[AnyTerm])
    assert loss(resolve("fire-mpo", composed=terms), toy()) == loss(resolve("fire-mpo"), toy())
    with pytest.raises(ConfigError, match="two have the same name"):
        resolve("dpo", composed=[Rank(), Rank()])
    wrong: list[dict[str, Any]] = [
        {"kind": "rank", "better": "x"},
        {"kind": "rank", "bete": 1},
        {"kind": "none"},
        {"kind": "kl", "forward": 2},
        {"kind": "rank", "link": "hinge", "margin": 1},
        {"kind": "rank", "epsilon": 0.1},
        {"kind": "rank", "span_weight": 5},
        {"kind": "rank", "references": 2, "norm": "mean"},
    ]
    for one in wrong:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert([one], list[AnyTerm])
