"""Random true reports with random errors are repaired exactly, and every pair is reversible.

The injector writes its own sentences and knows nothing of the editor's tables.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.anchors import undo
from medpo_cli.text.facts import extract, meaning
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.spans import token_mask
from medpo_cli.text.words import tokens

LEXICON = load_lexicon()
SIDES, ZONES, SIZES = ("left", "right"), ("upper", "middle", "lower"), ("small", "large")


def sides_zones(template: str) -> list[str]:
    return [template.format(side=side, zone=zone) for side in SIDES for zone in ZONES]


SENTENCES = [
    ["The heart is normal in size.", "The heart is enlarged."],
    [
        "No nodule is seen.",
        *sides_zones("There is a small nodule in the {side} {zone} zone."),
        *sides_zones("There is a large nodule in the {side} {zone} zone."),
    ],
    ["No focal opacity is seen.", *sides_zones("There is a patchy opacity in the {side} {zone} zone.")],
    ["No pleural effusion.", *(f"There is a {size} {side} pleural effusion." for size in SIZES for side in SIDES)],
    ["No pneumothorax.", *(f"There is a {size} {side} pneumothorax." for size in SIZES for side in SIDES)],
]
SIDE_STATEMENTS = [
    [
        f"On the {side} no nodule is seen.",
        *(f"On the {side} there is a {size} nodule in the {zone} part." for size in SIZES for zone in ZONES),
    ]
    for side in SIDES
]
report = st.tuples(*map(st.sampled_from, SENTENCES)).map(list)
sided = st.tuples(*map(st.sampled_from, SIDE_STATEMENTS)).map(list)


def pairs(said: str, truth: str, **config: object) -> list[Pair]:
    sample = Sample(
        id="p", image=ImageRef(path="x.png"), prompt="Describe.", reference=truth, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=said)],
    )  # fmt: skip
    return list(run([sample], EditConfig(**config), Context(reject=lambda _id, _error: None)))


def check_reversible(pair: Pair) -> None:
    assert undo(pair.chosen, pair.rejected, pair.spans) == pair.rejected
    assert undo(pair.rejected, pair.chosen, pair.spans, back=False) == pair.chosen
    for text, places in (
        (pair.chosen, [span.chosen for span in pair.spans]),
        (pair.rejected, [span.rejected for span in pair.spans]),
    ):
        assert any(token_mask([(token.start, token.end) for token in tokens(text)], places, text))


@settings(max_examples=150, deadline=None)
@given(truth=report | sided, said=st.data())
def test_any_wrong_report_is_repaired_to_the_reference_exactly(truth: list[str], said: st.DataObject) -> None:
    """Every statement may be wrong in everything."""
    options = SENTENCES if len(truth) == len(SENTENCES) else SIDE_STATEMENTS
    answer = [said.draw(st.sampled_from(choices)) for choices in options]
    made = pairs(" ".join(answer), " ".join(truth))
    if answer == truth:
        assert [pair.origin for pair in made] == ["counterfactual"]
    else:
        first = made[0]
        assert (first.origin, first.chosen, first.rejected) == ("corrected", " ".join(truth), " ".join(answer))
        assert first.checks is not None
        assert first.checks.distance_chosen == 0
    for pair in made:
        check_reversible(pair)


@settings(max_examples=100, deadline=None)
@given(truth=report, kept=st.sets(st.integers(0, 4), min_size=1))
def test_left_out_sentences_come_back(truth: list[str], kept: set[int]) -> None:
    """Omitted presences are inserted; the facts afterwards are those said plus all that are present."""
    answer = [sentence for number, sentence in enumerate(truth) if number in kept]
    missing = [sentence for number, sentence in enumerate(truth) if number not in kept and "No" not in sentence]
    missing = [sentence for sentence in missing if "normal" not in sentence]
    made = pairs(" ".join(answer), " ".join(truth), balance=False)
    if missing:
        assert meaning(extract(made[0].chosen, LEXICON)) == meaning(extract(" ".join(answer + missing), LEXICON))
    for pair in made:
        check_reversible(pair)


@settings(max_examples=100, deadline=None)
@given(truth=report | sided, seed=st.integers(0, 2**32))
def test_a_counterfactual_changes_exactly_one_statement(truth: list[str], seed: int) -> None:
    made = pairs(" ".join(truth), " ".join(truth), seed=seed, per_sample=4, normality_cap=1.0)
    assert made
    before = meaning(extract(" ".join(truth), LEXICON))
    for pair in made:
        after = meaning(extract(pair.rejected, LEXICON))
        assert (before - after).total() == 1 == (after - before).total()
        check_reversible(pair)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300), truth=report)
def test_any_text_is_edited_with_proof_or_refused(text: str, truth: list[str]) -> None:
    for answer in (text, f"{truth[0]} {text} {truth[3]}"):
        for pair in pairs(answer, " ".join(truth)):
            check_reversible(pair)


def test_errors_in_another_wording_than_the_reference() -> None:
    """Ordinary wording: at least 90 % of 60 answers with one wrong side or status are repaired in meaning."""
    generator = random.Random(0)
    templates = ["{size} {side} effusion is present.", "Heart size is normal. There is {size} {side} effusion."]
    repaired = 0
    for _ in range(60):
        side, size = generator.choice(SIDES), generator.choice(("a small", "a large"))
        other = "right" if side == "left" else "left"
        said = generator.choice(templates).format(size=size.capitalize(), side=other)
        truth = f"The heart is normal in size. There is {size} {side} pleural effusion."
        made = pairs(said, truth, balance=False)
        repaired += bool(made) and made[0].checks is not None and made[0].checks.distance_chosen == 0
    assert repaired >= 54
