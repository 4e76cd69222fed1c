"""The edit stage: branches, balance, what is carried along, and what is refused."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, MaskRef, Pair, Policy, Region, Response, Sample
from medpo_cli.stages.edit import pair_id, run

REPORT = "Describe the findings on this chest image."
TRUTH = (
    "The heart is enlarged. There is a small nodule in the left upper zone. No focal opacity is seen. "
    "There is a small left pleural effusion. No pneumothorax."
)
NORMAL = (
    "The heart is normal in size. No nodule is seen. No focal opacity is seen. No pleural effusion. No pneumothorax."
)


def sample(*answers: str, reference: str | None = TRUTH, **more: object) -> Sample:
    fields = {"id": "s", "prompt": REPORT, "task": "report", **more}
    return Sample(
        image=ImageRef(path="x.png"), reference=reference, policy=Policy(model="m", digest="0" * 64),
        responses=[Response(text=text) for text in answers], **fields,
    )  # fmt: skip


def edit(*samples: Sample, **settings: object) -> tuple[list[Pair], list[tuple[str | None, RecordError]]]:
    rejects: list[tuple[str | None, RecordError]] = []
    context = Context(reject=lambda name, error: rejects.append((name, error)))
    return list(run(samples, EditConfig(**settings), context)), rejects


def test_a_right_answer_becomes_chosen_and_one_thing_is_made_wrong() -> None:
    (pair,), _ = edit(sample(TRUTH))
    assert (pair.origin, pair.on_policy, pair.chosen) == ("counterfactual", "chosen", TRUTH)
    assert pair.rejected != TRUTH
    assert len(pair.spans) == 1
    assert pair.checks is not None
    assert pair.checks.distance_chosen == 0 < (pair.checks.distance_rejected or 0)


def test_a_wrong_answer_is_corrected_and_a_right_statement_protected() -> None:
    answer = TRUTH.replace("left pleural", "right pleural")
    (first, second), _ = edit(sample(answer))
    assert (first.origin, first.on_policy, first.chosen, first.rejected) == ("corrected", "rejected", TRUTH, answer)
    assert (second.origin, second.on_policy, second.chosen) == ("counterfactual", None, TRUTH)
    assert second.spans[0].label != "pleural_effusion"


def test_without_balance_a_wrong_answer_gives_one_pair() -> None:
    pairs, _ = edit(sample(TRUTH.replace("left pleural", "right pleural")), balance=False)
    assert [pair.origin for pair in pairs] == ["corrected"]


def test_per_sample_gives_several_different_counterfactuals() -> None:
    pairs, _ = edit(sample(TRUTH), per_sample=5)
    assert [pair.id for pair in pairs] == [f"s.0.{number}" for number in range(5)]
    assert len({pair.rejected for pair in pairs}) == 5


def test_each_response_is_edited_and_equal_ones_count_once() -> None:
    wrong = TRUTH.replace("left pleural", "right pleural")
    pairs, rejects = edit(sample(TRUTH, TRUTH, wrong, wrong), balance=False)
    assert [pair.id for pair in pairs] == ["s.0.0", "s.2.0"]
    assert rejects == []


def test_everything_of_the_case_is_carried() -> None:
    region = Region(label="nodule", mask=MaskRef(path="m.nii.gz"))
    made = sample(TRUTH, group="patient-7", regions=[region], ext={"twins": {"nodule": "t.png"}})
    (pair,), _ = edit(made)
    for name in ("image", "prompt", "reference", "task", "group", "regions", "ext", "policy"):
        assert getattr(pair, name) == getattr(made, name)
    assert pair.editor is not None
    assert (pair.editor.name, len(pair.editor.digest)) == ("rules", 64)


def test_pairs_pass_the_strict_schema() -> None:
    pairs, _ = edit(sample(TRUTH, NORMAL), per_sample=4)
    for pair in pairs:
        assert msgspec.json.decode(msgspec.json.encode(pair), type=Pair) == pair


def many(count: int) -> Iterator[Sample]:
    for number in range(count):
        yield sample(TRUTH if number % 2 else NORMAL, reference=TRUTH if number % 2 else NORMAL, id=f"s{number}")


def test_kinds_are_balanced_over_the_stream_and_normality_is_capped() -> None:
    pairs, _ = edit(*many(400), normality_cap=0.1)
    kinds = Counter(pair.spans[0].source for pair in pairs)
    normality = sum(count for kind, count in kinds.items() if "normality" in kind)
    assert 0 < normality <= 0.1 * len(pairs)
    others = [kinds[f"rule:swap-{kind}"] for kind in ("side", "location", "severity", "status-drop")]
    assert max(others) - min(others) <= 1
    made_up = Counter(pair.spans[0].label for pair in pairs if pair.spans[0].source == "rule:swap-status-add")
    assert set(made_up) == {"nodule", "opacity", "pleural_effusion", "pneumothorax"}
    assert max(made_up.values()) - min(made_up.values()) <= 2


def test_a_cap_of_zero_allows_no_normality_edit() -> None:
    pairs, rejects = edit(*many(40), normality_cap=0.0, per_sample=9)
    assert all("normality" not in pair.spans[0].source for pair in pairs)
    assert rejects == []
    _, rejects = edit(sample("The heart is enlarged.", reference="The heart is enlarged."), normality_cap=0.0)
    assert [error.reason for _, error in rejects] == ["normality-cap"]


def test_the_same_input_and_seed_give_the_same_pairs_and_another_seed_others() -> None:
    first, second, other = (edit(*many(60), seed=seed)[0] for seed in (3, 3, 4))
    assert [msgspec.json.encode(pair) for pair in first] == [msgspec.json.encode(pair) for pair in second]
    assert [pair.rejected for pair in first] != [pair.rejected for pair in other]


def test_records_are_read_one_at_a_time() -> None:
    read: list[int] = []

    def source() -> Iterator[Sample]:
        for number in range(3):
            read.append(number)
            yield sample(TRUTH, id=f"s{number}")

    next(run(source(), EditConfig(), Context()))
    assert read == [0]


def test_a_wrong_answer_to_a_question_about_one_side_keeps_the_side() -> None:
    question = {"task": "vqa-closed", "prompt": "Is there a nodule on the left?"}
    right = "Yes, there is a large nodule on the left."
    pairs, _ = edit(sample(right, reference=right, **question), per_sample=9)
    assert sorted(pair.rejected for pair in pairs) == [
        "No, there is no nodule on the left.",
        "Yes, there is a small nodule on the left.",
    ]


def test_a_statement_a_side_protects_the_right_side_of_a_corrected_answer() -> None:
    said = "On the left there is a large nodule in the upper part. On the right no nodule is seen."
    truth = "On the left no nodule is seen. On the right no nodule is seen."
    pairs, _ = edit(sample(said, reference=truth))
    assert [pair.chosen for pair in pairs] == [truth, truth]
    assert pairs[1].rejected.startswith("On the left no nodule is seen. On the right there is a ")


BAD = {
    "no-answer": ["", "  \n"],
    "control-character": [
        "The heart is enlarged.\0",
        "The heart is enlarged.\ud83e",
        "The heart is \u202eenlarged.",
        "The heart is enlarged.\x1b[31m",
    ],
    "degenerate": ["No nodule is seen. " * 4, "small " * 40],
    "too-long": ["The heart is enlarged. " * 50_000, "x" * (1 << 20), "\n" * (1 << 20) + "x"],
    "language": [
        "القلب متضخم.",
        "Сердце увеличено.",
        "心脏增大。",
        "Das Herz ist vergrößert.",
        "Le coeur est de taille normale.",
        "No hay derrame pleural.",
        "The heart is enlarged. Kein Pneumothorax links.",
    ],
    "refusal": [
        "I cannot interpret medical images.",
        "I'm sorry, but I can't help with that.",
        "Unable to analyze the image.",
        "No image has been provided.",
        "As an AI, I am unable to provide a diagnosis.",
    ],
    "placeholder": [
        "The XXXX heart is enlarged.",
        "<b>The heart is enlarged.</b>",
        "<!-- x --> The heart is enlarged.",
        "The heart is enlarged.<|im_end|>",
        "As an AI I see it.",
    ],
    "no-edit": ["Fine.", "Herzgröße normal", "..."],
}


@pytest.mark.parametrize(("reason", "answer"), [(reason, text) for reason, texts in BAD.items() for text in texts])
def test_bad_answers_are_rejected_with_a_code_and_the_run_goes_on(reason: str, answer: str) -> None:
    pairs, rejects = edit(sample(answer, id="bad"), sample(TRUTH, id="good"))
    assert [(name, error.reason, error.path) for name, error in rejects] == [("bad", reason, "$.responses[0].text")]
    assert [pair.id for pair in pairs] == ["good.0.0"]


@pytest.mark.parametrize("count", [1, 200])
def test_an_answer_of_a_megabyte_is_refused_at_once(count: int) -> None:
    """Length is looked at first: no check that reads the text comes before it."""
    started = time.process_time()
    _, rejects = edit(*(sample("The heart is enlarged. " * 45_000, id=f"s{number}") for number in range(count)))
    assert {error.reason for _, error in rejects} == {"too-long"}
    assert time.process_time() - started < 0.1 + 0.01 * count


@pytest.mark.parametrize(
    "answer", ["\n" * 30_000 + "x", "( " * 16_000, "I can " * 5_000 + ".", "- " * 16_000, "Dr. a" * 6_500]
)
def test_hostile_answers_of_the_longest_length_take_no_long_time(answer: str) -> None:
    started = time.process_time()
    edit(sample(answer))
    assert time.process_time() - started < 2


PILE = "e" + "\u0301\u0316" * 100_000


def test_piled_up_marks_are_refused_before_they_are_sorted() -> None:
    """Normal form C of this answer takes half a minute."""
    started = time.process_time()
    _, rejects = edit(sample(PILE, PILE[:1000], TRUTH), sample(TRUTH, reference=f"{TRUTH} {PILE}", id="r"))
    found = [(name, error.reason, error.path) for name, error in rejects]
    assert found[:2] == [("s", "too-long", "$.responses[0].text"), ("s", "degenerate", "$.responses[1].text")]
    assert ("r", "degenerate", "$.reference") in found
    assert time.process_time() - started < 3


def test_line_ends_of_every_kind_are_kept_as_they_are() -> None:
    text = TRUTH.replace(". ", ".\r\n", 1).replace(". ", ".\n\n", 1).replace(". ", ".\r", 1)
    pairs, _ = edit(sample(text), per_sample=9)
    assert len(pairs) >= 4
    for pair in pairs:
        assert re.findall(r"\s*\n\s*|\r", pair.rejected) == re.findall(r"\s*\n\s*|\r", text)


def test_a_report_in_capitals_stays_in_capitals() -> None:
    pairs, _ = edit(sample(TRUTH.upper(), TRUTH.replace("left pleural", "right pleural").upper()), per_sample=9)
    assert len(pairs) >= 6
    assert all(text.isupper() for pair in pairs for text in (pair.chosen, pair.rejected))


def test_abbreviations_are_no_capitals() -> None:
    question = {"task": "vqa-closed", "prompt": "Which modality is this?"}
    pairs, _ = edit(sample("CT", reference="MRI", **question), balance=False)
    assert [pair.chosen for pair in pairs] == ["MRI"]


def test_right_to_left_words_in_an_english_answer_are_left_alone() -> None:
    text = f"القلب: {TRUTH}"
    pairs, _ = edit(sample(text), per_sample=9)
    assert pairs
    assert all(pair.rejected.startswith("القلب: ") for pair in pairs)


@pytest.mark.parametrize("answer", [TRUTH, "The heart is normal in size."])
def test_a_reference_in_another_language_is_refused(answer: str) -> None:
    """The lexicon would read its silence as denial and correct away what is right."""
    pairs, rejects = edit(sample(answer, reference="Das Herz ist vergrößert. Pneumothorax links."), balance=False)
    assert pairs == []
    assert [(error.reason, error.path) for _, error in rejects] == [("language", "$.reference")]


@pytest.mark.parametrize("reference", [None, "", " "])
def test_without_a_reference_nothing_can_be_said(reference: str | None) -> None:
    pairs, rejects = edit(sample(TRUTH, reference=reference))
    assert (pairs, [error.reason for _, error in rejects]) == ([], ["no-reference"])


def test_a_reference_that_contradicts_itself_is_refused() -> None:
    _, rejects = edit(sample(TRUTH, reference=f"{TRUTH} There is a large left pneumothorax."))
    assert [(error.reason, error.path) for _, error in rejects] == [("reference-contradiction", "$.reference")]


def test_texts_are_stored_in_normal_form_c() -> None:
    (pair,), _ = edit(sample(f"Cafe\u0301: {TRUTH}", reference=f"Re\u0301sume\u0301: {TRUTH}"))
    assert pair.chosen == f"Caf\u00e9: {TRUTH}"
    assert pair.reference == f"R\u00e9sum\u00e9: {TRUTH}"


def test_rejects_hold_no_text() -> None:
    _, rejects = edit(sample("The XXXX heart is enlarged.", "Secret words.", id="s"))
    assert len(rejects) == 2
    assert all("heart" not in error.message and "Secret" not in error.message for _, error in rejects)


def test_long_ids_stay_valid_and_different() -> None:
    first, second = pair_id("a" * 199 + "b", 0, 0), pair_id("a" * 199 + "c", 0, 0)
    assert len(first) == 200 == len(second)
    assert first != second
    assert pair_id("case-1", 2, 3) == "case-1.2.3"


@pytest.mark.parametrize("place", ["left upper lobe", "left lower lobe", "right middle lobe"])
def test_no_counterfactual_names_a_left_middle_lobe(place: str) -> None:
    """Of 40 seeds none: the swap that would say so is not made."""
    text = f"5 mm nodule in the {place}. No pneumothorax."
    made = [pair for seed in range(40) for pair in edit(sample(text, reference=text), seed=seed, per_sample=9)[0]]
    assert all("left middle lobe" not in pair.rejected for pair in made)
    assert {pair.spans[0].kind for pair in made} >= {"location", "size"}


def test_an_answer_about_something_else_is_not_corrected_from_silence() -> None:
    answer = "Yes, there is a patchy opacity in the right lower zone."
    pairs, rejects = edit(sample(answer, prompt="Is there a pneumothorax?", task="vqa-closed", reference="No."))
    assert pairs == []
    assert [error.reason for _, error in rejects] == ["no-edit"]
    pairs, _ = edit(sample(answer, reference="No pneumothorax."))
    assert pairs[0].chosen == "No, there is no focal opacity on the right."
