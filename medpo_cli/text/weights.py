"""What a pair's edit is worth to the objectives that weigh: how grave, how sure, which sentences and words.

The numbers here are choices, written once: the papers take theirs from further models (MMedPO asks medical
language models, TIS-DPO two trained policies, RosePO a judge), and edit has none.
"""

import math
from collections.abc import Mapping, Sequence

from medpo_cli.schema.records import Offsets, Span, SpanKind
from medpo_cli.text.comparison import compare
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.rewards import reward
from medpo_cli.text.truth import Question, Reading
from medpo_cli.text.words import sentences

USUAL = 0.5
"""Urgency of a finding that the lexicon gives none, and of an answer about no finding."""
GRAVITY: Mapping[SpanKind, float] = {"location": 0.8, "severity": 0.8, "size": 0.8, "change": 0.8, "other": 0.5}
"""Share of a finding's urgency that an error in it keeps; there or not, and on which side: all of it."""
SURE, SILENT, HEDGED, MOST = 0.05, 0.15, 0.3, 0.45
"""Flip probability: the reference says it; says nothing of it (closed world); says "possible". The largest."""
EDITED, STATED, REST = 1.3, 1.0, 0.7
"""Token weights, ends and middle of TIS-DPO's rank transform: edited words, other words of facts, all others."""
DEGREES = 5


def clinical(spans: Sequence[Span], urgency: Mapping[str, float]) -> float:
    """Clinical weight of a pair, 0 to 1 as in MMedPO's files: its gravest change."""
    changes = ((name, GRAVITY.get(span.kind, 1.0)) for span in spans for name in _findings(span) or [""])
    return round(max(urgency.get(name, USUAL) * share for name, share in changes), 4)


def doubt(spans: Sequence[Span], truth: Reading) -> float:
    """Probability that the preference is the wrong way round (RosePO): that of its least sure change, at most .45."""
    hedged = {fact.finding for fact in truth.facts if fact.status == "uncertain"}
    found = (
        1 - span.confidence + (HEDGED if hedged & set(_findings(span)) else SURE if span.evidence else SILENT)
        for span in spans
    )
    return round(min(MOST, max(found)), 4)


def degree(answer: Reading, truth: Reading, question: Question, lexicon: Lexicon) -> int:
    """How much of the reference an answer has lost (SPO): 0 nothing, 4 all, by quarters of 1 - the reward for facts."""
    lost = 1 - reward("facts", answer, truth, question, lexicon)
    return math.ceil((DEGREES - 1) * lost - 1e-9)


def kept(answer: Reading, truth: Reading, edited: Sequence[Offsets], *, right: bool) -> list[Offsets]:
    """The right, or the wrong, sentences of one side of a pair (Mask-DPO).

    A sentence with an error is wrong; one without that the reference confirms is right; one about which the
    facts say nothing (a bare yes) is what its side is, if it was edited.

    Args:
        answer: the side.
        truth: the reference.
        edited: its stretches that the edit is about.
        right: whether it is the chosen side, whose right sentences count.
    """
    matches = [match for match in compare(answer.facts, truth.facts).matches if match.said is not None]
    errors = [match.said.sentence for match in matches if match.said and match.errors]
    confirmed = [match.said.sentence for match in matches if match.said and match.right]
    found = []
    for place in sentences(answer.text):
        wrong, good = _meets(place, errors), _meets(place, confirmed)
        if (good and not wrong if right else wrong) or (not wrong and not good and _meets(place, edited)):
            found.append(place)
    return found


def word_weights(answer: Reading, edited: Sequence[Offsets]) -> list[tuple[int, int, float]]:
    """Weighted stretches of one side (TIS-DPO): words of its facts, then what was edited; the rest weighs ``REST``."""
    stated = sorted({place for fact in answer.facts for place in fact.at.values()} - set(edited))
    return [*((start, end, STATED) for start, end in stated), *((start, end, EDITED) for start, end in edited)]


def _findings(span: Span) -> list[str]:
    return span.label.split("+") if span.label else []


def _meets(place: Offsets, others: Sequence[Offsets]) -> bool:
    return any(start < place[1] and place[0] < end for start, end in others)
