"""The demo's own generators, read back: every report, answer and label file of both domains."""

import random
from itertools import product

from medpo_cli.demo import language
from medpo_cli.demo.ct import language as ct
from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, WITH_SIDE, ZONES, Lesion
from medpo_cli.text.fact import Fact
from medpo_cli.text.facts import extract, named
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


def one(text: str) -> Fact:
    (fact,) = extract(text, LEXICON)
    return fact


def lesions() -> list[Lesion]:
    return [Lesion(finding, side, zone, size) for finding, side, zone, size in product(FINDINGS, SIDES, ZONES, SIZES)]


def test_each_lesion_is_read_back_from_sentence_label_and_answer() -> None:
    for lesion in lesions():
        told = [language.sentence(lesion.finding, lesion), language.closed_answer(lesion.finding, lesion)]
        for text in [*told, language.terse_phrase(lesion)]:
            fact = one(text)
            assert (fact.finding, fact.status) == (lesion.finding, "present"), text
            assert fact.side == (lesion.side if lesion.finding in WITH_SIDE else None), text
        fact = one(told[0])
        if lesion.finding in ("nodule", "opacity"):
            assert fact.location == lesion.zone
        if lesion.finding not in ("cardiomegaly", "opacity"):
            assert fact.severity == lesion.size


def test_each_denial_is_read_back() -> None:
    for finding in FINDINGS:
        for text in (language.sentence(finding, None), language.closed_answer(finding, None)):
            assert (one(text).finding, one(text).status) == (finding, "absent")


def test_questions_name_their_finding() -> None:
    for finding in FINDINGS:
        assert named(language.CLOSED[finding], LEXICON) == [finding]
        assert named(language.open_question(finding), LEXICON) == [finding]


def test_reports_hold_one_fact_a_finding_in_order() -> None:
    generator = random.Random(0)
    for _ in range(300):
        chosen = {lesion.finding: lesion for lesion in generator.sample(lesions(), 3)}
        facts = extract(language.report(chosen), LEXICON)
        assert [fact.finding for fact in facts] == list(FINDINGS)
        assert {fact.finding for fact in facts if fact.status == "present"} == set(chosen)
        labels = extract(language.terse_report(chosen), LEXICON)
        assert [fact.finding for fact in labels] == [finding for finding in FINDINGS if finding in chosen]


def test_ct_statements_are_read_back_with_their_side() -> None:
    for side in ct.SIDES:
        for text in (ct.absent(side), ct.closed_answer(side, None)):
            assert one(text).key[:3] == ("nodule", "absent", side)
        for size in ct.SIZES:
            for text in (ct.closed_answer(side, size), ct.size_answer(side, size)):
                assert (*one(text).key[:3], one(text).severity) == ("nodule", "present", side, size)
            for part in ct.PARTS:
                fact = one(ct.present(side, size, part))
                assert (fact.side, fact.severity, fact.location) == (side, size, part)
