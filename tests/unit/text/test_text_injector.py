"""True reports read well, and the injector makes the errors it names and no others."""

import random
import re

import pytest
from data.injector import DENIED, KINDS, STATED, Wrong, inject
from data.true_reports import NUMBERS, SLOTS, TABLE, Report, Slot, Statement, article, reports, sentences

REPORTS = reports()


def wrong_ones(kind: str) -> list[Wrong]:
    made = (inject(report, [kind], random.Random(report.id + kind)) for report in REPORTS)
    return [wrong for wrong in made if wrong is not None]


def test_the_reports_are_120_of_3_to_8_statements_the_same_every_time() -> None:
    assert len(REPORTS) == sum(NUMBERS.values()) == 120
    assert all(3 <= len(report.statements) <= 8 for report in REPORTS)
    assert reports() == REPORTS
    assert len({report.text for report in REPORTS}) == 120


def test_no_report_speaks_twice_of_one_finding() -> None:
    for report in REPORTS:
        said = [finding for statement in report.statements for finding in statement.findings]
        assert len(said) == len(set(said)), report.id


def test_slots_are_where_they_say() -> None:
    for report in REPORTS:
        for statement in report.statements:
            assert list(sentences(statement.text)) == [statement.text]
            for slot in statement.slots:
                assert statement.text[slot.start : slot.end].lower() in SLOTS[slot.name][1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a(n) 8 mm nodule", "an 8 mm nodule"), ("A 11 mm nodule", "An 11 mm nodule"), ("an 12 mm", "a 12 mm"),
        ("a(n) 1.8 cm mass", "a 1.8 cm mass"), ("There is an left rib", "There is a left rib"), ("a acute", "an acute"),
    ],
)  # fmt: skip
def test_articles(text: str, wanted: str) -> None:
    assert article(text) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_one_error_touches_one_statement(kind: str) -> None:
    made = wrong_ones(kind)
    assert len(made) >= 30
    for wrong in made:
        (error,) = wrong.errors
        truth, said = list(sentences(wrong.report.text)), list(sentences(wrong.text))
        assert error.kind == kind
        assert error.true != error.wrong
        if kind == "hallucinated":
            said.remove(error.wrong)
        elif kind == "omitted":
            truth.remove(error.true)
        else:
            truth[truth.index(error.true)] = error.wrong
        assert said == truth
        assert wrong.text.startswith(wrong.report.layout[0])


@pytest.mark.parametrize("kind", KINDS)
def test_grammar_of_what_is_injected(kind: str) -> None:
    for wrong in wrong_ones(kind):
        for text in filter(None, (error.wrong for error in wrong.errors)):
            assert re.fullmatch(r"[A-Z][^\0{}()]*\.", text), text
            assert article(text) == text


def test_a_hallucination_is_about_something_the_truth_does_not_mention() -> None:
    for wrong in wrong_ones("hallucinated"):
        assert wrong.errors[0].finding not in {name for made in wrong.report.statements for name in made.findings}


def test_a_size_is_at_least_a_third_larger_and_keeps_its_unit() -> None:
    for wrong in wrong_ones("size"):
        before, after = (
            re.search(r"([\d.]+)(?: x [\d.]+)* (mm|cm)", text) for text in (wrong.errors[0].true, wrong.errors[0].wrong)
        )
        assert before is not None
        assert after is not None
        assert after[2] == before[2]
        assert float(after[1]) >= 4 / 3 * float(before[1])


def test_a_kind_without_a_place_gives_nothing() -> None:
    report = Report("x", "cxr", (Statement("No scoliosis.", ("scoliosis",), "absent"),))
    assert inject(report, ["side"], random.Random(0)) is None
    assert inject(report, ["omitted"], random.Random(0)) is None


def test_a_denied_list_keeps_its_other_findings() -> None:
    statement = Statement("No pleural effusion or pneumothorax.", ("pleural_effusion", "pneumothorax"), "absent")
    made = inject(Report("x", "cxr", (statement,)), ["polarity"], random.Random(1))
    assert made is not None
    assert re.search(r", but no (pneumothorax|pleural effusion)\.$", made.text)


def test_three_errors_are_in_three_statements() -> None:
    made = [inject(report, ["side", "polarity", "hallucinated"], random.Random(7)) for report in REPORTS]
    found = [wrong for wrong in made if wrong]
    assert len(found) > 80
    assert all(len({error.true for error in wrong.errors}) == 3 for wrong in found)


def test_every_finding_of_the_tables_is_named_by_the_templates_or_stated() -> None:
    told = {finding for table in TABLE.values() for key in table for finding in key.split()}
    assert set(DENIED) <= told
    assert Slot("grade", 0, 4).attribute == "severity"
    assert all(text.endswith(".") for table in STATED.values() for texts in table.values() for text in texts)
