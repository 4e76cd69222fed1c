"""Short answers under the profile ``medpo``: counts of one item, to be summed and divided.

Closed questions are judged by commitment, never by substring: "nodule" holds no "no", and an answer
that commits to nothing is wrong and counted as unparsed. Published harnesses differ; their rules
belong to profiles of their own.
"""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from medpo_cli.text.answers import commitment, members
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import word_count

_DECIMAL_OR_WORD = re.compile(r"\d+(?:[.,]\d+)*|\w+")


class Overlap(NamedTuple):
    """Token overlap of a prediction with a reference."""

    precision: float
    recall: float
    f1: float


def normalise(text: str) -> list[str]:
    """Lower-case words and whole decimals of the NFC text; punctuation separates and is dropped."""
    return _DECIMAL_OR_WORD.findall(unicodedata.normalize("NFC", text).casefold())


def overlap(prediction: str, reference: str) -> Overlap:
    """Multiset overlap: P = shared / predicted, R = shared / expected, F1 = 2 P R / (P + R).

    Both empty: 1. One empty: 0.
    """
    said, expected = Counter(normalise(prediction)), Counter(normalise(reference))
    if not said and not expected:
        return Overlap(1.0, 1.0, 1.0)
    shared = (said & expected).total()
    if not shared:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = shared / said.total(), shared / expected.total()
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


def open_counts(answer: str, reference: str) -> dict[str, float]:
    """Counts of one open question: equal after normalisation, and token overlap."""
    precision, recall, f1 = overlap(answer, reference)
    return {
        "open.items": 1.0,
        "open.overlap_items": 1.0,
        "open.exact_items": 1.0,
        "open.exact": float(normalise(answer) == normalise(reference)),
        "open.precision": precision,
        "open.recall": recall,
        "open.f1": f1,
        "open.words": float(word_count(answer)),
    }


def closed_counts(answer: str, reference: str, lexicon: Lexicon) -> dict[str, float]:
    """Counts of one closed question.

    A reference with a yes or no is compared by the first whole-word yes or no; a reference in a
    closed set (side, plane, modality) by the one member of that set that the answer names; any
    other reference by equality after normalisation.
    """
    counts = {"closed.items": 1.0, "closed.words": float(word_count(answer))}
    truth = commitment(reference)
    if truth is None:
        said, expected = _option(answer, reference, lexicon)
        return counts | {"closed.right": float(said == expected), "closed.unparsed": float(said is None)}
    choice = commitment(answer)
    yes, true_yes = choice == "yes", truth == "yes"
    return counts | {
        "closed.right": float(choice == truth),
        "closed.unparsed": float(choice is None),
        "closed.yes_no": 1.0,
        "closed.said_yes": float(yes),
        "closed.true_yes": float(true_yes),
        "closed.both_yes": float(yes and true_yes),
        "closed.any_yes": float(yes) + float(true_yes),
    }


def _option(answer: str, reference: str, lexicon: Lexicon) -> tuple[object, object]:
    """What the answer chose and what was right; the choice is None when there is none."""
    truth = members(reference, lexicon)
    if not truth:
        return normalise(answer) or None, normalise(reference)
    named = members(answer, lexicon)
    name = next((name for name in truth if name in named), None)
    if name is None:
        return None, next(iter(truth.values())).value
    return named[name].value, truth[name].value


def stance(answer: str) -> object:
    """What an answer commits to, for telling whether it changed: yes or no, else its words."""
    return commitment(answer) or tuple(normalise(answer))
