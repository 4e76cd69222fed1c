"""Counterfactuals by kind: what is swapped, what is kept, and how the kinds are balanced."""

import pytest

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.draw import Balance, Candidate, Draw
from medpo_cli.text.operations import Operation


def made(text: str, **settings: object) -> list[Pair]:
    sample = Sample(
        id="s", image=ImageRef(path="x.png"), prompt="Describe the image.", reference=text, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=text)],
    )  # fmt: skip
    return list(run([sample], EditConfig(per_sample=9, normality_cap=1.0, **settings), Context()))


def swapped(text: str, source: str) -> set[str]:
    """The wrong texts that one rule makes, over a few seeds."""
    pairs = [pair for seed in range(6) for pair in made(text, seed=seed)]
    return {pair.rejected for pair in pairs if [span.source for span in pair.spans] == [source]}


@pytest.mark.parametrize(
    ("text", "source", "wrong"),
    [
        ("Two enlarged mediastinal lymph nodes are seen.", "rule:swap-number",
         {"Three enlarged mediastinal lymph nodes are seen.", "Multiple enlarged mediastinal lymph nodes are seen."}),
        ("There is a spiculated nodule in the left lung.", "rule:swap-margin",
         {"There is a smooth nodule in the left lung."}),
        ("There is a solid nodule in the left lung.", "rule:swap-texture",
         {"There is a cystic nodule in the left lung."}),
        ("There is a 3 mm stone in the left kidney.", "rule:swap-side", {"There is a 3 mm stone in the right kidney."}),
        ("There is a 3 mm stone in the left kidney.", "rule:swap-size", {"There is a 6 mm stone in the left kidney."}),
        ("A small left pleural effusion is unchanged.", "rule:swap-severity",
         {"A large left pleural effusion is unchanged."}),
    ],
)  # fmt: skip
def test_one_attribute_is_swapped(text: str, source: str, wrong: set[str]) -> None:
    assert swapped(text, source) == wrong


def test_textures_that_may_be_one_thing_are_no_error() -> None:
    assert swapped("There is a patchy opacity in the left lung.", "rule:swap-texture") == set()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "No focal consolidation, effusion, or pneumothorax.",
            "No focal consolidation or effusion. There is a {size} {side} pneumothorax.",
        ),
        (
            "The heart has a stable appearance without pneumothorax.",
            "The heart has a stable appearance. There is a {size} {side} pneumothorax.",
        ),
    ],
)
def test_a_made_up_pneumothorax_keeps_the_rest_of_the_sentence(text: str, kept: str) -> None:
    pairs = [pair for seed in range(6) for pair in made(text, seed=seed)]
    wrong = {pair.rejected for pair in pairs if {span.label for span in pair.spans} == {"pneumothorax"}}
    assert wrong == {kept.format(size=size, side=side) for size in ("small", "large") for side in ("left", "right")}


def test_one_denied_finding_leaves_the_other_of_its_sentence() -> None:
    wrong = swapped("Small left pleural effusion and basal atelectasis.", "rule:swap-status-drop")
    assert wrong == {"No pleural effusion. Basal atelectasis.", "Small left pleural effusion. No atelectasis."}


def candidate(bucket: str) -> Candidate:
    return Candidate(bucket, (Operation(0, 1, "a", "b", "other", None, "rule:test"),))


def test_half_of_the_normality_cap_is_kept_for_answers_that_allow_nothing_else() -> None:
    """The cap is 0.25 of at least 40 pairs: five where another kind is possible, ten in all."""
    balance = Balance(0.25)
    draw = Draw(0)
    both = [candidate("normality-add"), candidate("side")]
    for _ in range(30):
        balance.count(balance.order(both, draw)[0])
    assert balance.buckets == {"normality-add": 5, "side": 25}
    forced = 0
    while chosen := balance.order([candidate("normality-add")], draw):
        balance.count(chosen[0])
        forced += 1
    assert forced == 5
