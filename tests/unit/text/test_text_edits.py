"""The rule editor through the stage: what is corrected, how, and where the spans lie."""

import pytest

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run

REPORT = "Describe the findings on this chest image."
TRUTH = (
    "The heart is enlarged. There is a small nodule in the left upper zone. No focal opacity is seen. "
    "There is a small left pleural effusion. No pneumothorax."
)


def corrected(answer: str, reference: str, task: str = "report", prompt: str = REPORT) -> Pair:
    sample = Sample(
        id="s", image=ImageRef(path="x.png"), prompt=prompt, reference=reference, task=task,
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer)],
    )  # fmt: skip
    (pair,) = run([sample], EditConfig(balance=False), Context())
    assert (pair.origin, pair.on_policy, pair.rejected) == ("corrected", "rejected", answer)
    return pair


def spans(pair: Pair) -> list[tuple[str, str | None, str, str]]:
    return [
        (span.kind, span.label, pair.rejected[slice(*span.rejected)], pair.chosen[slice(*span.chosen)])
        for span in pair.spans
    ]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("The heart is normal in size.", "The heart is enlarged.",
         ("normality", "cardiomegaly", "normal in size", "enlarged")),
        ("No nodule is seen.", "There is a small nodule in the left upper zone.",
         ("status", "nodule", "No nodule is seen", "There is a small nodule in the left upper zone")),
        ("There is a small nodule in the right upper zone.", "There is a small nodule in the left upper zone.",
         ("side", "nodule", "right", "left")),
        ("There is a small nodule in the left lower zone.", "There is a small nodule in the left upper zone.",
         ("location", "nodule", "lower", "upper")),
        ("There is a large nodule in the left upper zone.", "There is a small nodule in the left upper zone.",
         ("severity", "nodule", "large", "small")),
        ("There is a patchy opacity in the left middle zone.", "No focal opacity is seen.",
         ("status", "opacity", "There is a patchy opacity in the left middle zone", "No focal opacity is seen")),
        ("No pleural effusion.", "There is a small left pleural effusion.",
         ("status", "pleural_effusion", "No", "There is a small left")),
        ("There is a large right pneumothorax.", "No pneumothorax.",
         ("status", "pneumothorax", "There is a large right", "No")),
    ],
)  # fmt: skip
def test_one_wrong_sentence_of_a_report(wrong: str, right: str, expected: tuple[str, str, str, str]) -> None:
    pair = corrected(TRUTH.replace(right, wrong), TRUTH)
    assert pair.chosen == TRUTH
    assert spans(pair) == [expected]


def test_evidence_points_into_the_reference() -> None:
    pair = corrected(TRUTH.replace("left pleural", "right pleural"), TRUTH)
    assert pair.spans[0].evidence is not None
    start, end = pair.spans[0].evidence
    assert (TRUTH[start:end], TRUTH[end : end + 17]) == ("left", " pleural effusion")


def test_several_wrong_sentences_give_one_pair_with_a_span_each() -> None:
    answer = (
        "The heart is normal in size. No nodule is seen. There is a patchy opacity in the left lower zone. "
        "There is a small right pleural effusion. No pneumothorax."
    )
    pair = corrected(answer, TRUTH)
    assert pair.chosen == TRUTH
    assert [label for _, label, _, _ in spans(pair)] == ["cardiomegaly", "nodule", "opacity", "pleural_effusion"]
    assert pair.checks is not None
    # cardiomegaly 2 + nodule 2 + opacity 2 + side 1
    assert (pair.checks.distance_chosen, pair.checks.distance_rejected) == (0, 7)


def test_a_label_file_is_corrected_as_a_label_file() -> None:
    pair = corrected("Small right upper nodule. Right pneumothorax.", TRUTH)
    assert pair.chosen == "Cardiomegaly. Small left upper nodule. Small left pleural effusion. No pneumothorax."


def test_two_omitted_findings_are_inserted_in_the_reference_order() -> None:
    pair = corrected("The heart is enlarged. No pneumothorax.", TRUTH)
    assert pair.chosen == (
        "The heart is enlarged. There is a small nodule in the left upper zone. "
        "There is a small left pleural effusion. No pneumothorax."
    )
    assert [span.label for span in pair.spans] == ["nodule+pleural_effusion"]


def test_a_list_of_denials_keeps_what_was_right() -> None:
    pair = corrected("No pneumothorax or pleural effusion.", "There is a small left pleural effusion. No pneumothorax.")
    assert pair.chosen == "No pneumothorax. There is a small left pleural effusion."
    assert pair.spans[0].confidence == 0.9


def test_a_false_second_statement_is_deleted() -> None:
    answer = "There is a small left pleural effusion. The heart is enlarged. No pleural effusion."
    reference = "There is a small left pleural effusion. The heart is enlarged."
    pair = corrected(answer, reference)
    assert pair.chosen == reference
    assert spans(pair)[0][2:] == ("enlarged. No pleural effusion.", "enlarged.")


def test_measurements_are_taken_from_the_reference() -> None:
    pair = corrected("A 9 mm nodule in the left upper lobe.", "1.4 cm nodule in the left upper lobe.")
    assert pair.chosen == "A 1.4 cm nodule in the left upper lobe."
    assert [kind for kind, *_ in spans(pair)] == ["size"]


def test_lists_headings_and_line_breaks_stay() -> None:
    answer = "FINDINGS:\r\n- The heart is normal in size.\r\n- No pneumothorax.\n"
    pair = corrected(answer, "The heart is enlarged. No pneumothorax.")
    assert pair.chosen == "FINDINGS:\r\n- The heart is enlarged.\r\n- No pneumothorax.\n"


CT = "On the left there is a large nodule in the upper part. On the right no nodule is seen."


def test_a_statement_a_side_is_corrected_side_by_side() -> None:
    truth = "On the left no nodule is seen. On the right there is a small nodule in the lower part."
    pair = corrected(CT, truth)
    assert pair.chosen == truth
    assert spans(pair) == [
        ("status", "nodule", "there is a large nodule in the upper part", "no nodule is seen"),
        ("status", "nodule", "no nodule is seen", "there is a small nodule in the lower part"),
    ]


@pytest.mark.parametrize(
    ("prompt", "answer", "reference", "chosen"),
    [
        ("Is there a pleural effusion?", "No, there is no pleural effusion.",
         "Yes, there is a small left pleural effusion.", "Yes, there is a small left pleural effusion."),
        ("Is there a pleural effusion?", "Yes, there is a small left pleural effusion.",
         "No, there is no pleural effusion.", "No, there is no pleural effusion."),
        ("Is there a pleural effusion?", "Yes, there is a small left pleural effusion.", "no",
         "No, there is no pleural effusion."),
        ("Is there a pleural effusion?", "YES", "no", "NO"),
        ("Is there a pleural effusion?", "no.", "Yes, there is a small left pleural effusion.", "yes."),
        ("Is the heart enlarged?", "Yes, the heart is enlarged.", "No, the heart is normal in size.",
         "No, the heart is normal in size."),
        ("Is there a nodule on the left?", "No, there is no nodule on the left.",
         "Yes, there is a large nodule on the left.", "Yes, there is a large nodule on the left."),
        ("Is there a nodule on the left?", "Yes, there is a large nodule on the left.", "No.",
         "No, there is no nodule on the left."),
        ("Is there a zebra?", "Yes, the image does show a zebra.", "No.", "No, the image does not show a zebra."),
        ("Is there a zebra?", "No, there is no zebra.", "yes", "Yes, there is a zebra."),
    ],
)  # fmt: skip
def test_closed_answers(prompt: str, answer: str, reference: str, chosen: str) -> None:
    pair = corrected(answer, reference, "vqa-closed", prompt)
    assert pair.chosen == chosen
    assert pair.spans[0].kind == "answer"


@pytest.mark.parametrize(
    ("prompt", "answer", "reference", "chosen"),
    [
        ("Which side is the pleural effusion on?", "The pleural effusion is on the left.",
         "The pleural effusion is on the right.", "The pleural effusion is on the right."),
        ("Which side is the pleural effusion on?", "Left", "The pleural effusion is on the right.", "Right"),
        ("How large is the nodule on the left?", "The nodule on the left is small.",
         "The nodule on the left is large.", "The nodule on the left is large."),
        ("Which plane is this?", "Coronal plane.", "axial", "Axial plane."),
        ("Which modality is this?", "This is an MRI.", "CT", "This is a CT."),
    ],
)  # fmt: skip
def test_open_answers(prompt: str, answer: str, reference: str, chosen: str) -> None:
    assert corrected(answer, reference, "vqa-open", prompt).chosen == chosen


def test_a_denial_in_a_list_keeps_the_others_without_their_texture() -> None:
    pair = corrected(
        "There is no focal consolidation, pleural effusion, or pneumothorax.",
        "No focal consolidation. Moderate right pneumothorax. No pleural effusion.",
    )
    assert pair.chosen == (
        "There is no focal consolidation or pleural effusion. There is a moderate right pneumothorax."
    )
    assert [span.label for span in pair.spans] == ["pneumothorax"]


def test_a_sentence_with_two_wrong_findings_is_one_span_with_both_labels() -> None:
    pair = corrected(
        "There is a small right pleural effusion with atelectasis. No pneumothorax.",
        "There is a small left pleural effusion. No pneumothorax.",
    )
    assert pair.chosen == "There is a small left pleural effusion. No pneumothorax."
    assert [span.label for span in pair.spans] == ["atelectasis+pleural_effusion"]


@pytest.mark.parametrize(
    ("answer", "reference", "chosen"),
    [
        ("The lungs are clear. The right PICC tip is in the SVC. No edema.", "The lungs are clear. No edema.",
         "The lungs are clear. No edema."),
        ("Low lung volumes without pneumothorax.", "Mild cardiomegaly. Low lung volumes without pneumothorax.",
         "Mild cardiomegaly. Low lung volumes without pneumothorax."),
        ("Heart size within normal limits. Negative for effusion.",
         "Heart size within normal limits. There is a nodule in the left lung. Negative for effusion.",
         "Heart size within normal limits. There is a nodule in the left lung. Negative for effusion."),
        ("Granulomas in the left upper lobe and right upper lobe.",
         "Granulomas in the right middle lobe and right upper lobe.",
         "Granulomas in the right middle lobe and right upper lobe."),
        ("Two gallstones are seen. No ascites. Mild diverticulosis.", "No gallstones. No ascites. Mild diverticulosis.",
         "No gallstones. No ascites. Mild diverticulosis."),
        ("A 4.1 cm abdominal aortic aneurysm. No gallstones.", "No gallstones. Extensive sigmoid diverticulosis.",
         "No gallstones. Extensive sigmoid diverticulosis."),
        ("Mild emphysema. No effusion.", "There is a 4 mm nodule in the left lung. Mild emphysema. No effusion.",
         "There is a 4 mm nodule in the left lung. Mild emphysema. No effusion."),
        ("Left atelectasis and edema. No effusion.", "Bibasilar atelectasis. No effusion.",
         "Bibasilar atelectasis. No effusion."),
    ],
)  # fmt: skip
def test_reports_get_the_words_of_the_reference(answer: str, reference: str, chosen: str) -> None:
    assert corrected(answer, reference).chosen == chosen
