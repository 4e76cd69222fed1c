"""How good an answer is against the reference: a number from 0 to 1 for rankings."""

from collections.abc import Mapping
from typing import Literal

from medpo_cli.text.answers import Member, members
from medpo_cli.text.comparison import compare
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.truth import Question, Reading
from medpo_cli.text.words import tokens

Kind = Literal["facts", "exact", "edit-distance"]


def reward(kind: Kind, answer: Reading, truth: Reading, question: Question, lexicon: Lexicon) -> float:
    """The reward of ``answer``, 0 to 1.

    Args:
        kind: ``facts``: F1 of the statements, for a closed question as ``exact``; ``exact``: 1 for the right
            choice of a closed question or the same words, else 0; ``edit-distance``: share of the letters kept.
        answer: what was said, read for ``question``.
        truth: the reference, read for ``question``.
        question: what was asked.
        lexicon: the clinical words.
    """
    if kind == "edit-distance":
        return similarity(answer.text, truth.text)
    if kind == "exact" or question.closed:
        return float(agrees(answer, truth, question, lexicon))
    return fact_f1(answer, truth)


def agrees(answer: Reading, truth: Reading, question: Question, lexicon: Lexicon) -> bool:
    """Whether an answer says the same: the yes or no, or the member of a closed set; else the same words."""
    if question.closed and truth.said:
        return answer.said == truth.said
    right = members(truth.text, lexicon) if question.closed else {}
    if right:
        said = members(answer.text, lexicon)
        shared = next((name for name in right if name in said), None)
        return shared is not None and said[shared].value == right[shared].value
    return _words(answer.text) == _words(truth.text)


def fact_f1(answer: Reading, truth: Reading) -> float:
    """F1 of the statements, denials included: 2 right / (2 right + wrong + missed).

    A statement with any error is wrong, and what it is about is missed. A statement that is repeated counts
    once; a denial of what the reference does not mention does not count. Bare answers are compared by the
    closed sets they name; where the lexicon reads nothing in the reference, only the same words are right.
    """
    if truth.bare or (answer.bare and truth.members):
        return _member_f1(answer.members, truth.members)
    if not truth.facts:
        return float(_words(answer.text) == _words(truth.text))
    matches = compare(answer.facts, truth.facts).matches
    right = {id(match.truth) for match in matches if match.right}
    about = {id(match.truth) for match in matches if match.truth is not None}
    wrong = sum(match.said is not None and bool(match.errors) for match in matches)
    return _f1(len(right), wrong, len(about - right))


def similarity(first: str, second: str) -> float:
    """1 - edit distance / length of the longer text (PerPO's reward for OCR); both empty: 1."""
    longest = max(len(first), len(second))
    return 1.0 - levenshtein(first, second) / longest if longest else 1.0


def levenshtein(first: str, second: str) -> int:
    """Least number of code points inserted, deleted or replaced.

    Bit-parallel (Hyyrö 2003): one column of the table is two integers, ``up`` where a cell exceeds the one
    above it by 1 and ``down`` where it is smaller by 1; pages of text take milliseconds.
    """
    if not first:
        return len(second)
    places: dict[str, int] = {}
    for place, mark in enumerate(first):
        places[mark] = places.get(mark, 0) | 1 << place
    full, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    up, down, distance = full, 0, len(first)
    for mark in second:
        equal = places.get(mark, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        more, less = down | ~(diagonal | up), up & diagonal
        distance += bool(more & last) - bool(less & last)
        more, less = more << 1 | 1, less << 1
        up, down = (less | ~(diagonal | more)) & full, more & diagonal & full
    return distance


def _member_f1(said: Mapping[str, Member], truth: Mapping[str, Member]) -> float:
    shared = said.keys() & truth.keys()
    right = sum(said[name].value == truth[name].value for name in shared)
    return _f1(right, len(shared) - right, len(truth) - right)


def _f1(right: int, wrong: int, missed: int) -> float:
    return 2 * right / (2 * right + wrong + missed) if right else 0.0


def _words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return [token.word for token in tokens(text) if token.word[0].isalnum()]
