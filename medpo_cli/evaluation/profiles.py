"""Named sets of rules for short answers, so that a number can be laid beside a published one.

Published harnesses disagree on what counts as right. Each profile below follows one of them, defects
included; ``medpo`` (evaluation.answers) is the one to decide by. Reports, pairs and grounding have
one definition only, whatever the profile. A change of any rule raises the profile's version.

What the profiles do not reproduce: BLEU and ROUGE of open answers, LLM judges, LLaVA-Med's table
of contractions ("dont") and its "open accuracy" (nearest of a list of candidate answers). LLaVA-Med
also left a closed answer that commits to the wrong choice out of its count at one commit; here
every item counts.
"""

import re
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from medpo_cli.evaluation.answers import closed_counts, open_counts
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import word_count

Counts = dict[str, float]


@dataclass(frozen=True)
class Profile:
    """How closed and open answers are counted.

    Attributes:
        name: as in ``--profile``.
        version: raised when a rule changes.
        closed, open: (answer, reference, lexicon) to the counts of one item; see evaluation.measures.
        source: where the rules come from.
    """

    name: str
    version: int
    closed: Callable[[str, str, Lexicon], Counts]
    open: Callable[[str, str, Lexicon], Counts]
    source: str

    @property
    def tag(self) -> str:
        """What stands in scores and summaries: ``name/version``."""
        return f"{self.name}/{self.version}"


def _closed(answer: str, *, right: bool, unparsed: bool) -> Counts:
    return {
        "closed.items": 1.0,
        "closed.right": float(right),
        "closed.unparsed": float(unparsed),
        "closed.words": float(word_count(answer)),
    }


def _open(answer: str, scores: tuple[float, float, float], exact: bool | None) -> Counts:
    """Counts of precision, recall and F1; ``exact`` None where the harness has no such measure."""
    counts = dict(zip(("open.precision", "open.recall", "open.f1"), scores, strict=True))
    counts |= {"open.items": 1.0, "open.overlap_items": 1.0, "open.words": float(word_count(answer))}
    return counts if exact is None else counts | {"open.exact_items": 1.0, "open.exact": float(exact)}


def _ratios(shared: float, said: float, expected: float) -> tuple[float, float, float]:
    """Precision, recall, F1; all 0 where nothing is shared."""
    if not shared:
        return 0.0, 0.0, 0.0
    precision, recall = shared / said, shared / expected
    return precision, recall, 2 * precision * recall / (precision + recall)


# LLaVA-Med: llava/eval/run_eval.py and eval_metrics/ at commit ad758b6.

_NUMBERS = {
    word: str(value)
    for value, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}  # fmt: skip
_VQA_MARKS = ';/[]"{}()=+\\_->@`<,?!'
_MOST_PERIODS = 32  # the harness hands re.UNICODE (32) to sub() as its count


def _vqa_words(text: str) -> str:
    """Normalisation of the VQA challenge: marks, articles and full stops go, number words become digits."""
    out = text
    between_digits = re.search(r"\d,\d", text) is not None
    for mark in _VQA_MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside_space or between_digits else " ")
    out = re.sub(r"\.(?!\d)", "", out, count=_MOST_PERIODS)
    kept = [_NUMBERS.get(word, word) for word in out.lower().split()]
    return " ".join(word for word in kept if word not in ("a", "an", "the")).replace(",", "")


def _llavamed_closed(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """A yes or no occurs anywhere inside the answer ("normal" holds one), and so does the reference."""
    said, truth = _vqa_words(answer.lower()), _vqa_words(reference.lower())
    committed = "yes" in said or "no" in said
    return _closed(answer, right=committed and truth in said, unparsed=not committed)


def _llavamed_open(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """Words in both sides count as often as the answer repeats them."""
    said, truth = (Counter(_vqa_words(_vqa_words(text.lower())).split()) for text in (answer, reference))
    shared = sum(said[word] for word in said if word in truth)
    left_out = sum(truth[word] for word in truth if word not in said)
    return _open(answer, _ratios(shared, said.total(), shared + left_out), None)


# MedEvalKit: utils/utils.py, utils/VQA_RAD and utils/SLAKE at commit 9b12e3b, without its LLM judge.

_LEADS = (
    "**answer**:", "**answer**", "*answer*:", "**answer:**", "answer is", "answer:", "final answer", "final answer is",
)  # fmt: skip


def _final(response: str) -> str:
    """The boxed or tagged part in lower case, after the last announcement of an answer."""
    text = response.lower()
    boxed, tagged = re.findall(r"\\boxed\{([^{}]*)\}", text), re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    text = boxed[-1] if boxed else " ".join(tagged) if tagged else text
    for lead in _LEADS:
        text = text.split(lead)[-1]
    return text


def _medevalkit_closed(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """Yes/no reference: exactly one of the two occurs inside the answer. Else equality without full stops."""
    said, truth = _final(answer).replace("\n", "").replace(".", ""), reference.lower().strip()
    if truth not in ("yes", "no"):
        return _closed(answer, right=said == truth, unparsed=not said)
    committed = ("yes" in said) ^ ("no" in said)
    return _closed(answer, right=committed and truth in said, unparsed=not committed)


def _medevalkit_scores(answer: str, reference: str) -> tuple[tuple[float, float, float], bool]:
    said, truth = _final(answer), reference.lower()
    ours, theirs = set(said.split()), set(truth.split())
    return _ratios(len(ours & theirs), len(ours), len(theirs)), said == truth


def _medevalkit_open(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """Overlap of sets of words, punctuation left on, in the columns where they belong."""
    scores, exact = _medevalkit_scores(answer, reference)
    return _open(answer, scores, exact)


def _medevalkit_as_reported(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """The same in the columns where the harness prints them: F1 as precision, precision as recall, recall as F1."""
    (precision, recall, f1), exact = _medevalkit_scores(answer, reference)
    return _open(answer, (f1, precision, recall), exact)


# lmms-eval: lmms_eval/tasks/slake/utils.py at commit 65ef07d, its English part.

_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ALIASES = {"x ray": "xray"} | dict.fromkeys(("yeah", "yep", "true"), "yes") | dict.fromkeys(("nope", "false"), "no")


def _slake_words(text: str) -> str:
    """Lower case without parts in parentheses and punctuation; a whole answer may be an alias of yes or no."""
    plain = " ".join(re.sub(r"\([^)]*\)", " ", text.lower()).translate(_TO_SPACE).split())
    return _ALIASES.get(plain, plain)


def _slake_closed(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    """Equality, closed and open questions alike: "Yes, there is." is no "yes"."""
    said, truth = _slake_words(answer), _slake_words(reference)
    unparsed = said not in ("yes", "no") if truth in ("yes", "no") else not said
    return _closed(answer, right=said == truth, unparsed=unparsed)


def _slake_open(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    exact = _slake_words(answer) == _slake_words(reference)
    words = float(word_count(answer))
    return {"open.items": 1.0, "open.exact_items": 1.0, "open.exact": float(exact), "open.words": words}


def _medpo_open(answer: str, reference: str, lexicon: Lexicon) -> Counts:
    return open_counts(answer, reference)


_ALL = (
    Profile("medpo", 1, closed_counts, _medpo_open, "medpo_cli/evaluation/answers.py"),
    Profile("llavamed", 1, _llavamed_closed, _llavamed_open, "microsoft/LLaVA-Med llava/eval/run_eval.py @ad758b6"),
    Profile("medevalkit", 1, _medevalkit_closed, _medevalkit_open, "alibaba-damo-academy/MedEvalKit @9b12e3b"),
    Profile(
        "medevalkit-asreported", 1, _medevalkit_closed, _medevalkit_as_reported,
        "the same with its swapped columns",
    ),
    Profile("lmms-slake", 1, _slake_closed, _slake_open, "EvolvingLMMs-Lab/lmms-eval tasks/slake @65ef07d"),
)  # fmt: skip

PROFILES: dict[str, Profile] = {profile.name: profile for profile in _ALL}
"""Every profile by name."""

TAGS: frozenset[str] = frozenset(profile.tag for profile in _ALL)
"""The tags that scores of this version may carry."""
