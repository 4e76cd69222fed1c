"""Proof of a pair: every check that a pair of an editor, rules or model, must pass.

Limits. A status edit replaces a whole statement ("No pleural effusion." against "There is a small
left pleural effusion."), so length and share of words are limited per changed fact, not only per
answer: a legitimate edit of a short answer would fail any fixed share. Of one statement side, place
and severity may be wrong at once, so statements are counted, not spans.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Checks, Span
from medpo_cli.text.anchors import check_spans
from medpo_cli.text.comparison import contradictory, meaning
from medpo_cli.text.language import is_covered
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.meta import is_degenerate, is_placeholder, is_refusal
from medpo_cli.text.truth import Question, Reading, difference, read
from medpo_cli.text.words import is_shouted, piles_marks, word_count

MAX_FACTS = 6
MAX_RATIO = 0.35
WORDS_PER_FACT = 16
LENGTH_SHARE, LENGTH_WORDS = 0.10, 2
MAX_CHARACTERS = 32_768
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = r"\r\n\u2028\u2029"
_LAYOUT = re.compile(rf"(?:^|[{_LINE_ENDS}]+)\s*(?:[-*•‣]|\d{{1,2}}[.)](?=\s))?(?:\s*[A-Za-z /]{{2,30}}:(?!\S))?")


def verify(
    chosen: str, rejected: str, spans: Sequence[Span], truth: Reading, question: Question, lexicon: Lexicon
) -> Checks:
    """Measure a pair and refuse it with a reason.

    Args:
        chosen: the text that is nearer to the truth.
        rejected: the other one.
        spans: operations between them, in order.
        truth: the reference, read for ``question``.
        question: what was asked.
        lexicon: the clinical words.

    Raises:
        RecordError: ``not-nfc``, ``control-character``, ``too-long``, ``degenerate``, ``refusal``,
            ``placeholder``, ``language``, ``anchor``, ``overlap``, ``empty-span``, ``not-reversible``,
            ``straddle``, ``evidence``, ``layout``, ``no-fact-change``, ``side-effect``, ``ratio``, ``length``,
            ``direction``.
    """
    for text, field in ((chosen, "$.chosen"), (rejected, "$.rejected")):
        check_text(text, field)
        check_language(text, field)
    check_marks(truth.text, "$.reference")
    check_language(truth.text, "$.reference")
    check_spans(chosen, rejected, spans, truth.text)
    check_layout(chosen, rejected)
    good, bad = read(chosen, question, lexicon), read(rejected, question, lexicon)
    changed = changed_findings(good, bad)
    check_facts(good, bad, changed, spans)
    ratio = check_size(chosen, rejected, spans, changed.total())
    near, far = difference(good, truth)[1], difference(bad, truth)[1]
    if near >= far:
        raise RecordError("direction", "the chosen answer is no nearer to the reference than the rejected one")
    return Checks(
        word_ratio=round(ratio, 4), edits=len(spans), facts_changed=changed.total(), distance_chosen=near,
        distance_rejected=far,
    )  # fmt: skip


def check_answer(text: str) -> None:
    """Refuse answers that cannot be read at all: ``no-answer``, ``language``, and what ``check_text`` refuses."""
    if not text.strip():
        raise RecordError("no-answer", "the answer is empty")
    check_text(text, "")
    check_language(text, "")


def check_text(text: str, field: str) -> None:
    """Refuse texts that no edit can be right about: looping, masked, broken or endless ones."""
    if len(text) > MAX_CHARACTERS:
        raise RecordError("too-long", f"more than {MAX_CHARACTERS} characters", field)
    if any(unicodedata.category(mark) in ("Cs", "Cc") and mark not in "\t\n\r" for mark in text):
        raise RecordError("control-character", "a control character or an unpaired surrogate", field)
    if not _DIRECTION.isdisjoint(text):
        raise RecordError("control-character", "a mark that turns the direction of the text", field)
    check_marks(text, field)
    if not unicodedata.is_normalized("NFC", text):
        raise RecordError("not-nfc", "text is not in Unicode normal form C", field)
    if is_degenerate(text):
        raise RecordError("degenerate", "the text repeats itself", field)
    if is_refusal(text):
        raise RecordError("refusal", "the answer declines the question", field)
    if is_placeholder(text):
        raise RecordError("placeholder", "holds a placeholder, markup, or speaks of itself", field)


def check_marks(text: str, field: str) -> None:
    """Refuse a text that piles up combining marks: ``nfc`` left it as it is."""
    if piles_marks(text):
        raise RecordError("degenerate", "a letter carries more than 30 combining marks", field)


def check_language(text: str, field: str) -> None:
    """Refuse a text that the lexicon can read in part at best."""
    if not is_covered(text):
        raise RecordError("language", "not in the language that the lexicon covers", field)


def check_layout(chosen: str, rejected: str) -> None:
    """Same line breaks, list markers and headings, same final mark, same case."""
    lines, outlines = (list(map(read, (chosen, rejected))) for read in (_LAYOUT.findall, _outline))
    shouted = word_count(chosen) > 1 < word_count(rejected) and is_shouted(chosen) != is_shouted(rejected)
    if lines[0] != lines[1] or outlines[0] != outlines[1] or shouted:
        raise RecordError("layout", "lines, markers, headings, final mark, first capital or all capitals differ")


def _outline(text: str) -> tuple[str, bool]:
    """Final mark, and whether the first letter is a capital."""
    body = text.strip()
    return body[-1:] if body[-1:] in (".", "!", "?") else "", body[:1].isupper()


def changed_findings(good: Reading, bad: Reading) -> Counter[str]:
    """Per finding the number of facts that differ; ``""`` for an answer word or closed-set member."""
    ours, theirs = meaning(good.facts), meaning(bad.facts)
    counts: Counter[str] = Counter()
    for finding in {str(key[0]) for key in ours + theirs}:
        gone = sum(count for key, count in (ours - theirs).items() if key[0] == finding)
        came = sum(count for key, count in (theirs - ours).items() if key[0] == finding)
        if gone or came:
            counts[finding] = max(gone, came)
    if not counts and (good.said != bad.said or _values(good) != _values(bad)):
        counts[""] = 1
    return counts


def check_facts(good: Reading, bad: Reading, changed: Counter[str], spans: Sequence[Span]) -> None:
    """Something changed, and only what the spans are labelled with."""
    if not changed:
        raise RecordError("no-fact-change", "both sides state the same")
    labels = {label for span in spans for label in (span.label or "").split("+")}
    if set(changed) - {""} - labels:
        raise RecordError("side-effect", "a finding changed that no span is about")
    if set(contradictory(good.facts)) - set(contradictory(bad.facts)):
        raise RecordError("side-effect", "the chosen answer contradicts itself through the edit")


def check_size(chosen: str, rejected: str, spans: Sequence[Span], facts: int) -> float:
    """Share of changed words; refuses over-editing and drift of length."""
    if facts > MAX_FACTS:
        raise RecordError("ratio", f"more than {MAX_FACTS} changed statements")
    ours, theirs = word_count(chosen), word_count(rejected)
    changed = max(
        sum(word_count(chosen[slice(*span.chosen)]) for span in spans),
        sum(word_count(rejected[slice(*span.rejected)]) for span in spans),
    )
    ratio = changed / max(ours, theirs, 1)
    if ratio > MAX_RATIO and changed > WORDS_PER_FACT * facts:
        raise RecordError("ratio", "more words changed than the changed facts explain")
    drift = max(LENGTH_WORDS, LENGTH_SHARE * min(ours, theirs))
    if abs(ours - theirs) > max(drift, (WORDS_PER_FACT - 2) * facts):
        raise RecordError("length", "the two sides differ more in length than the changed facts explain")
    return min(ratio, 1.0)


def _values(reading: Reading) -> dict[str, str]:
    return {name: member.value for name, member in reading.members.items()}
