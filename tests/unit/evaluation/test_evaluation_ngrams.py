"""ROUGE-1, ROUGE-2, CIDEr and MedEvalKit's wording: vectors 9, 10, 12 and 13 to the printed digits, and slow twins."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.evaluation.harness_wording import sentence_bleu, split_stops, union_rouge_l
from medpo_cli.evaluation.ngrams import cider, rouge_n, words
from medpo_cli.evaluation.wording import signatures, wording_counts

R1 = "The heart is normal in size. There is a small left pleural effusion. No pneumothorax."
H1 = "The heart is mildly enlarged. There is a small right pleural effusion. No pneumothorax."
TEXT = st.lists(st.sampled_from("abcd"), max_size=9)
SOME = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9)


def test_vector_9_two_packages_called_rouge() -> None:
    """The other one, rouge-score, gives .6667: see the tests of evaluation.overlap."""
    assert round(union_rouge_l("Pleural effusion, small", "small pleural effusion"), 4) == 0.3333


def test_vector_10_rouge_calls_two_clinical_errors_good() -> None:
    said, truth = words(H1), words(R1)
    assert [round(rouge_n(said, truth, n), 4) for n in (1, 2)] == [0.7586, 0.5926]


def test_vector_12_nltk_with_medevalkits_tokens() -> None:
    told = sentence_bleu(split_stops(H1), split_stops(R1))
    assert [round(value, 4) for value in told] == [0.7765, 0.7095, 0.6326, 0.5403]


def test_vector_13_cider_of_one_pair_is_nothing() -> None:
    texts = ["no acute disease seen", "small left pleural effusion", "the heart is enlarged"]
    assert cider([[texts[0]]], texts[:1], texts[:1]) == [0.0]
    assert cider([[text] for text in texts], texts, texts) == pytest.approx([10.0] * 3)


@settings(deadline=None)
@given(TEXT, TEXT, st.integers(1, 3))
def test_rouge_n_against_counting_by_hand(a: list[str], b: list[str], order: int) -> None:
    ours = [tuple(a[k : k + order]) for k in range(len(a) - order + 1)]
    left = [tuple(b[k : k + order]) for k in range(len(b) - order + 1)]
    expected = len(left)
    shared = 0
    for gram in ours:
        if gram in left:
            left.remove(gram)
            shared += 1
    precision, recall = (shared / count if count else 0.0 for count in (len(ours), expected))
    slow = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert rouge_n(a, b, order) == pytest.approx(slow)


@settings(deadline=None)
@given(TEXT, SOME)
def test_sentence_bleu_against_its_definition(a: list[str], b: list[str]) -> None:
    for order, value in enumerate(sentence_bleu(a, b), start=1):
        precisions = []
        for n in range(1, order + 1):
            ours = Counter(tuple(a[k : k + n]) for k in range(len(a) - n + 1))
            theirs = Counter(tuple(b[k : k + n]) for k in range(len(b) - n + 1))
            clipped = sum(min(count, theirs[gram]) for gram, count in ours.items())
            precisions.append(clipped / ours.total() if ours else 0.0)
        brevity = 1.0 if len(a) > len(b) else math.exp(1 - len(b) / len(a)) if a else 0.0
        assert value == pytest.approx(brevity * math.prod(precisions) ** (1 / order))


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, SOME), min_size=1, max_size=5))
def test_cider_against_vectors_written_out(pairs: list[tuple[list[str], list[str]]]) -> None:
    truths = [" ".join(truth) for _, truth in pairs]
    made = cider([[" ".join(said)] for said, _ in pairs], truths, truths)
    for value, (said, truth) in zip(made, pairs, strict=True):
        total = 0.0
        for n in range(1, 5):
            vocabulary = sorted({tuple(t[k : k + n]) for p in pairs for t in p for k in range(len(t) - n + 1)})
            ours, theirs = np.zeros(len(vocabulary)), np.zeros(len(vocabulary))
            for k, gram in enumerate(vocabulary):
                held = sum(any(tuple(t[i : i + n]) == gram for i in range(len(t))) for _, t in pairs)
                weight = math.log(len(pairs) / max(1, held))
                ours[k], theirs[k] = (
                    weight * sum(tuple(t[i : i + n]) == gram for i in range(len(t))) for t in (said, truth)
                )
            norm = np.linalg.norm(ours) * np.linalg.norm(theirs)
            total += float(np.minimum(ours, theirs) @ theirs / norm) if norm else 0.0
        gap = max(0, len(said) - 1) - max(0, len(truth) - 1)
        assert value == pytest.approx(10 * total / 4 * math.exp(-(gap**2) / 72), abs=1e-9)


def test_union_rouge_counts_a_word_once_whatever_the_sentences() -> None:
    assert union_rouge_l("a b. a b.", "a b.") == pytest.approx(1, abs=1e-6)
    assert union_rouge_l("", "a b.") == 0
    assert union_rouge_l("b a", "a b c") == pytest.approx(2 * 0.5 / 3 / (0.5 + 1 / 3), abs=1e-6)


def test_an_empty_answer_scores_nothing_and_is_counted() -> None:
    for profile in ("medpo", "medevalkit"):
        counts = wording_counts(" ", R1, profile)
        assert counts["report.empty"] == counts["report.wording_items"] == 1
        assert counts["report.rouge_1"] == counts.get("report.sentence_bleu_1", 0) == 0
    assert cider([[""]], ["a b"], ["a b", "c"]) == [0.0]


def test_only_the_harness_has_its_own_measures() -> None:
    assert "sentence_bleu" in signatures("medevalkit")
    assert "sentence_bleu" not in signatures("medpo")
