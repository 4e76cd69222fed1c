"""What a stage says at its end."""

import pytest

from medpo_cli.cli.tally import Tally
from medpo_cli.schema.records import (
    Case,
    Corrupted,
    ImageRef,
    Pair,
    Policy,
    Ranked,
    Ranking,
    Region,
    RegionProof,
    Response,
    Sample,
    Span,
    Step,
)
from medpo_cli.text.lexicon import load_lexicon

IMAGE = {"image": ImageRef(path="x.png"), "prompt": "p", "task": "report"}
POLICY = Policy(model="m", digest="0" * 64)


def test_sample_says_how_many_answers_were_cut_off() -> None:
    tally = Tally("sample")
    for number, finish in enumerate(("stop", "length", "stop")):
        response = Response(text="a", tokens=10 + number, finish=finish)
        tally.add(Sample(id=str(number), policy=POLICY, responses=[response], **IMAGE))
    assert tally.lines() == ["answers: whole 2, cut off at --max-tokens 1", "median length: 11 tokens"]


def test_edit_says_what_was_edited() -> None:
    tally = Tally("edit")
    span = Span(kind="side", chosen=(0, 1), rejected=(0, 1), source="rules")
    for number, origin in enumerate(("corrected", "counterfactual", "corrected")):
        tally.add(Pair(id=str(number), chosen="l", rejected="r", origin=origin, spans=[span], **IMAGE))
    assert tally.lines() == ["pairs: corrected 2, counterfactual 1", "edits: side 3"]
    ranking = Tally("edit")
    ranking.add(Ranking(id="a", responses=[Ranked(text="a", reward=1.0), Ranked(text="b", reward=0.0)], **IMAGE))
    assert ranking.lines() == ["rankings: of 2 1"]


def corrupted(remaining: float | None) -> Corrupted:
    proof = RegionProof(
        mask="0" * 64,
        voxels=1,
        fraction=0.1,
        changed=1.0,
        outside="0" * 64,
        contrast_before=1.0,
        contrast_after=0.0,
        remaining=remaining,
    )
    return Corrupted(image=ImageRef(path="y"), operator="texture", parameters={}, seed=0, region=proof, route="lesion")


def test_corrupt_says_what_was_left_out_and_what_is_left_of_the_finding() -> None:
    tally = Tally("corrupt")
    tally.add(Case(id="a", corrupted=corrupted(-0.02), control=corrupted(None), **IMAGE))
    tally.add(Case(id="b", corrupted=corrupted(0.06), no_control="no-control-site", **IMAGE))
    tally.add(Case(id="c", **IMAGE))
    assert tally.lines() == [
        "corrupted: texture (lesion) 2, left as it is 1",
        "control: none (no-control-site) 1, placed 1",
        "contrast of the finding that is left: 4% (median)",
    ]
    bare = Tally("corrupt")  # --no-control
    bare.add(Case(id="a", corrupted=corrupted(None), **IMAGE))
    assert bare.lines() == ["corrupted: texture (lesion) 1"]


def test_masks_counts_labels_and_joins_the_tail() -> None:
    tally = Tally("masks")
    names = sorted(load_lexicon().findings)
    for number in range(11):
        regions = [Region(label=names[number], box=(0, 0, 1, 1))] * (12 - number)
        tally.add(Case(id=str(number), regions=regions, **IMAGE))
    tally.add(Case(id="none", **IMAGE))
    first, second = tally.lines()
    assert first.startswith(f"regions: {names[0]} 12, {names[1]} 11, ")
    assert first.endswith(f", {names[7]} 5, others 9")
    assert second == "records: with regions 11, without 1"


def test_masks_does_not_say_labels_that_are_free_text() -> None:
    tally = Tally("masks")
    for label in ("nodule", "Pleural effusion", "nodule of SECRET", "SECRET"):
        tally.add(Case(id=label[:3], regions=[Region(label=label, box=(0, 0, 1, 1))], **IMAGE))
    assert tally.lines()[0] == "regions: other names 2, Pleural effusion 1, nodule 1"


def test_align_compares_its_first_step_with_its_last() -> None:
    tally = Tally("align")
    fields = {"epoch": 0.0, "terms": {}, "rewards": {}, "accuracy": 0.0, "grad_norm": 1.0, "lr": 1.0, "tokens": 1}
    for number in range(3):
        record = Step(step=number, loss=1.5 - number / 2, margin=float(number), seconds=1, peak_bytes=2**29, **fields)
        tally.add(record)
    assert tally.lines() == ["loss 1.5 -> 0.5, margin 0 -> 2, peak memory 0.50 GiB"]
    assert Tally("align").lines() == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.25, "in 0.2 s"),
        (2.0, "in 2.0 s (50/s)"),
        (125.2, "in 2 min 05 s (0.799/s)"),
        (7260, "in 2 h 01 min (0.0138/s)"),
    ],
)
def test_speed(seconds: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 100.0 + seconds))
    monkeypatch.setattr("medpo_cli.cli.tally.time.monotonic", lambda: next(clock))
    assert Tally("edit").speed(100) == said
