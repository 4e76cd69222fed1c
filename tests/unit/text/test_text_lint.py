"""The pair linter: each warning provoked, statistics by hand."""

import pytest

from medpo_cli.schema.records import ImageRef, Pair, Span
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.lint import WARNINGS, Lint, edit_distance

LEXICON = load_lexicon()
REST = " The heart is normal in size. No pneumothorax."


def pair(chosen: str, rejected: str, *spans: tuple[tuple[int, int], tuple[int, int]], **more: str) -> Pair:
    made = [Span(kind="other", chosen=a, rejected=b, source="x") for a, b in spans]
    return Pair(
        id="p", image=ImageRef(path=more.get("path", "x.png")), prompt="Describe.", task="report", chosen=chosen,
        rejected=rejected, origin="corrected", spans=made,
    )  # fmt: skip


GOOD = pair("Small left effusion." + REST, "Small right effusion." + REST, ((6, 10), (6, 11)))

CASES = {
    "same-meaning": pair("Small effusion." + REST, "Tiny effusion." + REST, ((0, 5), (0, 4))),
    "covers-all": pair("A large mass is here now.", "Small nodules were seen before.", ((0, 24), (0, 30))),
    "length-gap": pair("No effusion.", "There is a very large left effusion today.", ((0, 2), (0, 32))),
    "one-side-empty": pair("No effusion.", "Effusion seen, .", ((0, 2), (13, 15))),
    "style": pair("Left effusion." + REST, "LEFT effusion." + REST, ((0, 4), (0, 4))),
}


@pytest.mark.parametrize("code", CASES)
def test_each_warning(code: str) -> None:
    assert code in Lint(LEXICON).take(CASES[code])


def test_a_good_pair_has_none() -> None:
    assert Lint(LEXICON).take(GOOD) == []


def test_pairs_that_repeat_or_turn_round() -> None:
    lint = Lint(LEXICON)
    turned = pair(GOOD.rejected, GOOD.chosen, ((6, 11), (6, 10)))
    assert [lint.take(one) for one in (GOOD, GOOD, turned)] == [[], ["duplicate"], ["other-way-round"]]
    assert lint.take(pair(GOOD.chosen, GOOD.rejected, ((6, 10), (6, 11)), path="y.png")) == []


def test_every_code_is_provoked_here() -> None:
    assert set(CASES) | {"duplicate", "other-way-round"} == set(WARNINGS)


def test_statistics_by_hand() -> None:
    lint = Lint(LEXICON)
    lint.take(GOOD)  # 11 words each, one replaced, one masked
    lint.take(pair("No effusion.", "Large left effusion.", ((0, 2), (0, 10))))  # 2 and 3 words, two steps, one masked
    found = lint.statistics()
    assert found["words in chosen"] == (11 + 2) / 2
    assert found["words in rejected"] == (11 + 3) / 2
    assert found["absolute difference in words"] == 0.5
    assert found["share within two words"] == 1.0
    assert found["words inserted, deleted or replaced"] == (1 + 2) / 2
    assert found["share of chosen words in spans"] == 2 / 13
    assert Lint(LEXICON).statistics() == {}


@pytest.mark.parametrize(
    ("a", "b", "steps"), [("a b c", "a x c", 1), ("a b", "a b", 0), ("", "a b", 2), ("a b c d", "b c d e", 2)]
)
def test_edit_distance(a: str, b: str, steps: int) -> None:
    assert edit_distance(a.split(), b.split()) == steps
