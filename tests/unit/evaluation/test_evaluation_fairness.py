"""The arithmetic of a fair judge: ZEPO's measure by hand, kappa against every pair of raters written out."""

from itertools import product

import numpy as np
import pytest

from medpo_cli.evaluation.fairness import consistent_share, fairest, fairness, first_share
from medpo_cli.evaluation.statistics import interval, times_drawn
from medpo_cli.evaluation.verdicts import grade_counts, kappa, rules_say_right
from medpo_cli.text.judging import GRADE, PAIR, TEXTS, Grade, tag


@pytest.mark.parametrize(
    ("items", "value"),
    [
        ([[True] * 7 + [False] * 3], -0.2),  # A = 7, B = 3: -|7/10 - 1/2|
        ([[True, False]] * 4, 0.0),
        ([[True, True]] * 4, -0.5),
        ([[False, False]] * 4, -0.5),
        ([[True, True], [False, False]], 0.0),
        ([[True, True, True, True], [True, False]], -0.25),  # per item, then averaged: (1 + 1/2) / 2
        ([[None, None]], -0.5),
        ([[True, None]], -0.5),  # the missing reply might have been "first"
        ([[True, False], [False, None]], -0.25),
        ([], -0.5),
    ],
)
def test_fairness(items: list[list[bool | None]], value: float) -> None:
    assert fairness(items) == pytest.approx(value)


def test_a_missing_reply_never_makes_a_wording_fairer() -> None:
    for replies in product((True, False), repeat=4):
        whole = fairness([replies[:2], replies[2:]])
        for place in range(4):
            partly: list[bool | None] = [*replies]
            partly[place] = None
            assert fairness([partly[:2], partly[2:]]) <= whole + 1e-12


def test_the_fairest_and_the_first_of_equals() -> None:
    follows, reads = [[True, True]] * 3, [[True, False]] * 3
    assert fairest([follows, reads, reads]) == 1
    assert fairest([follows, follows]) == 0


def test_shares_of_places() -> None:
    orders = [(True, False), (True, True), (False, None), (False, True)]
    assert first_share(orders) == pytest.approx(4 / 7)
    assert consistent_share(orders) == pytest.approx(2 / 3)
    assert first_share([(None, None)]) is None
    assert consistent_share([(None, True)]) is None


def _kappa_by_hand(pairs: list[tuple[bool, bool]]) -> float:
    n = len(pairs)
    seen = sum(one == other for one, other in pairs) / n
    yes, also = sum(one for one, _ in pairs) / n, sum(other for _, other in pairs) / n
    chance = yes * also + (1 - yes) * (1 - also)
    return float("nan") if chance == 1 else (seen - chance) / (1 - chance)


def test_kappa_is_cohens() -> None:
    for pairs in product(list(product((True, False), repeat=2)), repeat=5):
        said = ["right" if judge else "wrong" for judge, _ in pairs]
        rules = np.array([rule for _, rule in pairs])
        found = kappa(np.ones(5), rules, said, np.ones((1, 5)))[0]
        assert found == pytest.approx(_kappa_by_hand(list(pairs)), nan_ok=True)


def test_kappa_of_draws_and_of_nothing() -> None:
    """20 both right, 5 only the judge, 10 only the rules, 15 both wrong: (35/50 - 1/2) / (1/2) = .4."""
    counts, rules = np.array([20.0, 5.0, 10.0, 15.0]), np.array([True, False, True, False])
    said = ["right", "right", "wrong", "wrong"]
    found = kappa(counts, rules, said, np.array([[1.0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))
    assert found[:2] == pytest.approx([0.4, 1.0])
    assert np.isnan(found[2:]).all()


def test_what_the_rules_say() -> None:
    assert rules_say_right("report", {"report.judged": 1.0, "report.all_right": 1.0}) is True
    assert rules_say_right("report", {"report.judged": 1.0, "report.all_right": 0.0}) is False
    assert rules_say_right("report", {"report.judged": 0.0}) is None
    assert rules_say_right("open", {"open.exact_items": 1.0, "open.exact": 0.0}) is False
    assert rules_say_right("open", {"open.f1": 1.0}) is None


def test_counts_of_several_answers() -> None:
    grades = [Grade("right", []), Grade("wrong", ["omitted"]), None, Grade("partly", ["side", "omitted"])]
    counts = grade_counts("report", grades, [True, None, True, True])
    assert counts["report.judge_unparsed"] == 0.25
    assert counts["report.judge_right"] == counts["report.judge_wrong"] == counts["report.judge_side"] == 1 / 3
    assert counts["report.judge_omitted"] == 2 / 3
    assert counts["report.judge_right_right"] == counts["report.judge_wrong_right"] == 0.5
    assert grade_counts("report", [None], [True]) == {"report.judge_asked": 1.0, "report.judge_unparsed": 1.0}


def test_prompts_are_told_apart() -> None:
    assert len(TEXTS) == len(set(TEXTS.values())) == 1 + len(PAIR) == 6
    assert TEXTS[tag(GRADE)] == GRADE
    for text in PAIR.values():
        assert '{"better": "first"}' in text
        assert '{"better": "second"}' in text
        assert "not instructions" in text


def test_the_interval_of_kappa_holds_the_truth() -> None:
    """Groups of one to three reports that share a difficulty; the judge errs more where the rules do."""

    def world(generator: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        codes = np.repeat(np.arange(groups), generator.integers(1, 4, size=groups))
        effect = generator.normal(0, 0.6, groups)[codes]
        rules = generator.random(len(codes)) < 1 / (1 + np.exp(-effect))
        judge = np.where(generator.random(len(codes)) < 0.8, rules, generator.random(len(codes)) < 0.6)
        return codes, rules, ["right" if one else "wrong" for one in judge]

    def measured(rules: np.ndarray, said: list[str], weights: np.ndarray) -> np.ndarray:
        return kappa(np.ones(len(rules)), rules, said, weights)

    codes, rules, said = world(np.random.default_rng(1), 200_000)
    truth, held = measured(rules, said, np.ones((1, len(rules))))[0], 0
    generator = np.random.default_rng(0)
    for seed in range(500):
        codes, rules, said = world(generator, 100)
        draws = np.concatenate([measured(rules, said, times[:, codes]) for times in times_drawn(100, 400, seed)])
        low, high = interval(draws) or (np.nan, np.nan)
        held += low <= truth <= high
    assert 0.92 <= held / 500 <= 0.97
