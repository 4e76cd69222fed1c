"""BLEU and ROUGE-L: published vectors, sacrebleu itself over whole sets, and brute force."""

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from medpo_cli.evaluation.measures import BY_NAME, WHOLE
from medpo_cli.evaluation.overlap import PARTS, bleu, overlap_counts, rouge_l
from medpo_cli.evaluation.reports import report_counts
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.schema.records import Score
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon

R1 = "The heart is normal in size. There is a small left pleural effusion. No pneumothorax."
H1 = "The heart is mildly enlarged. There is a small right pleural effusion. No pneumothorax."
WORDS = ("no", "small", "left", "right", "effusion", "pneumothorax", "nodule", "3.5", "mm", "the", "heart", ".", ",")


def corpus_bleu(said: Sequence[str], truth: Sequence[str], order: int, times: Sequence[int] | None = None) -> float:
    """Ours, of a set whose k-th report counts ``times[k]``."""
    counts = [overlap_counts(a, b) for a, b in zip(said, truth, strict=True)]
    values = np.array([one[f"report.bleu_{name}"] for one in counts for name in PARTS])
    weights = np.repeat(np.array([times or [1] * len(said)], dtype=float), len(PARTS), axis=1)
    return float(bleu(values, PARTS * len(said), weights, order)[0])


def test_vector_9_and_10_rouge() -> None:
    assert rouge_l("Pleural effusion, small", "small pleural effusion") == pytest.approx(0.6667, abs=5e-5)
    assert rouge_l(H1, R1) == pytest.approx(0.7586, abs=5e-5)


def test_vector_11_and_12_bleu() -> None:
    assert 100 * corpus_bleu([H1], [R1], 4) == pytest.approx(54.03, abs=5e-3)
    for order, expected in enumerate((0.7765, 0.7095, 0.6326, 0.5403), start=1):
        assert corpus_bleu([H1], [R1], order) == pytest.approx(expected, abs=5e-5)


def test_n_grams_miss_what_facts_see() -> None:
    """Why a release must not hang on them: two clinical errors in three sentences."""
    lexicon = load_lexicon()
    counts, _ = report_counts(H1, extract(H1, lexicon), extract(R1, lexicon))
    assert counts["report.right"] / counts["report.statements"] <= 1 / 3
    assert rouge_l(H1, R1) > 0.75


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_any_set_as_sacrebleu_scores_it(order: int) -> None:
    draw = random.Random(order)
    oracle = BLEU(max_ngram_order=order)
    for _ in range(60):
        size = draw.randint(1, 5)
        truth = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(size)]
        said = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(size)]
        times = [draw.randint(0, 3) for _ in range(size)]
        several = [(a, b) for a, b, n in zip(said, truth, times, strict=True) for _ in range(n)]
        expected = oracle.corpus_score(said, [truth]).score / 100
        assert corpus_bleu(said, truth, order) == pytest.approx(expected, abs=1e-12)
        if several:
            expected = oracle.corpus_score([a for a, _ in several], [[b for _, b in several]]).score / 100
            assert corpus_bleu(said, truth, order, times) == pytest.approx(expected, abs=1e-12)


def test_rouge_by_trying_every_subsequence() -> None:
    draw = random.Random(0)
    for _ in range(200):
        a, b = (draw.choices("xyz", k=draw.randint(0, 6)) for _ in range(2))
        held = {pick for k in range(len(b) + 1) for pick in itertools.combinations(b, k)}
        longest = max(k for k in range(len(a) + 1) for pick in itertools.combinations(a, k) if pick in held)
        expected = 2 * longest / (len(a) + len(b)) if longest else 0.0
        assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(expected)


def test_identical_empty_and_missing() -> None:
    assert corpus_bleu([R1], [R1], 4) == pytest.approx(1)
    assert rouge_l(R1, R1) == 1
    assert corpus_bleu([""], [R1], 4) == rouge_l("", R1) == 0
    assert corpus_bleu(["", R1], [R1, R1], 4) < corpus_bleu([R1], [R1], 4), "an empty answer is counted, not skipped"
    assert overlap_counts(R1, " ") == {}


def _scores(answers: Sequence[str]) -> list[Score]:
    return [
        Score(id=str(k), task="report", arm="base", profile="medpo/1", metrics=overlap_counts(answer, R1))
        for k, answer in enumerate(answers)
    ]


def test_summary_has_them_with_intervals() -> None:
    answers = [H1, R1, "No pneumothorax.", H1, R1]
    (summary,) = summarise({"base": _scores(answers)}, resamples=200, seed=0, versions={})
    for order in range(1, 5):
        found = summary.metrics[f"report.bleu_{order}"]
        assert found.value == pytest.approx(BLEU(max_ngram_order=order).corpus_score(answers, [[R1] * 5]).score / 100)
        assert (found.n, found.low is not None) == (5, True)
        assert found.low is not None
        assert found.low < found.value
    rouge = summary.metrics["report.rouge_l"]
    assert rouge.value == pytest.approx(sum(rouge_l(answer, R1) for answer in answers) / 5)
    assert {"report.bleu_4", "report.rouge_l"} <= {*BY_NAME, *(one.name for one in WHOLE)}


@pytest.mark.parametrize(
    ("answer", "truth", "shared", "both"),
    [
        ("The nodule has increased.", "The nodule has increased.", 1, 2),
        ("The nodule has decreased.", "The nodule has increased.", 0, 2),
        ("There is a nodule.", "The nodule has increased.", 0, 1),
        ("The nodule has increased.", "There is a nodule.", 0, 1),  # a comparison with nothing: too much
        ("There is a nodule.", "There is a nodule.", 0, 0),
    ],
)
def test_f1_of_changes(answer: str, truth: str, shared: int, both: int) -> None:
    lexicon = load_lexicon()
    counts, _ = report_counts(answer, extract(answer, lexicon), extract(truth, lexicon))
    assert (counts["report.changes_shared"], counts["report.changes_both"]) == (shared, both)
