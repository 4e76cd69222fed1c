"""The rule editor: correct what an answer says wrongly, in the answer's own words.

The whole answer stays; each wrong statement is corrected by the smallest replacement that the rules
know: a word for a wrong attribute, a statement for a wrong status, nothing for a made-up one, an
inserted sentence for an omission. ``verify`` decides afterwards whether the result may be used.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from medpo_cli.text.answers import commitment_at
from medpo_cli.text.comparison import Comparison
from medpo_cli.text.fact import Offsets
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.operations import Operation
from medpo_cli.text.polarity import flip_clause
from medpo_cli.text.scribe import Scribe
from medpo_cli.text.style import in_case_of
from medpo_cli.text.truth import Question, Reading

VERSION = "2"
_LISTED = 0.9


def corrections(
    answer: Reading, truth: Reading, question: Question, comparison: Comparison, lexicon: Lexicon
) -> list[Operation]:
    """Operations that make ``answer`` agree with ``truth``; errors without a rule are left."""
    if answer.bare:
        return list(_bare(answer, truth, question))
    if not answer.facts:
        return list(_unknown_finding(answer, truth, question))
    scribe = Scribe(answer, truth, lexicon, report=question.report)
    operations: list[Operation] = []
    for sentence in dict.fromkeys(fact.sentence for fact in answer.facts):
        group = [match for match in comparison.matches if match.said is not None and match.said.sentence == sentence]
        # A report that is silent about a finding denies it; the answer to one question does not.
        settled = question.report or all(match.truth is not None for match in group if match.errors)
        if settled and any(match.errors for match in group):
            operations.extend(scribe.correct(sentence, group))
    if question.report:
        added = list(scribe.insertions([match for match in comparison.omitted if match.said is None]))
        # a sentence of several places may have come in for a wrong one already
        operations += [one for one in added if not any(one.text.strip() in other.text for other in operations)]
    return _apart(operations, answer.text)


def _apart(operations: list[Operation], text: str) -> list[Operation]:
    """Two deletions that both take the space between them: the first keeps it, the last takes the one behind."""
    ordered = sorted(operations, key=lambda operation: (operation.start, operation.end))
    for number, (first, second) in enumerate(pairwise(ordered), start=1):
        shared = first.end - second.start
        if 0 < shared <= len(second.quote) and second.quote[:shared].isspace():
            end = second.end + (not second.text and text[second.end : second.end + 1] == " ")
            ordered[number] = replace(second, start=first.end, end=end, quote=text[first.end : end])
    return ordered


def flip_answer(text: str, label: str | None, source: str, evidence: Offsets | None) -> list[Operation]:
    """Turn the yes or no of an answer, and the polarity of the clause behind it."""
    place = commitment_at(text)
    if place is None:
        return []
    word = text[slice(*place)]
    turned = in_case_of(word, "no" if word.lower() == "yes" else "yes")
    operations = [Operation(*place, word, turned, "answer", label, source, 1.0, evidence)]
    clause = flip_clause(text, place[1])
    if clause is not None:
        start, end, new = clause
        operations.append(Operation(start, end, text[start:end], new, "status", label, source, _LISTED, evidence))
    return operations


def _bare(answer: Reading, truth: Reading, question: Question) -> Iterator[Operation]:
    label = question.asked[0] if len(question.asked) == 1 else None
    whole = (0, len(truth.text))
    if answer.said and truth.said:
        if answer.said != truth.said:
            yield from flip_answer(answer.text, label, "rule:yes-no", commitment_at(truth.text) or whole)
        return
    for name, member in answer.members.items():
        right = truth.members.get(name)
        if right is not None and right.value != member.value:
            old = answer.text[member.start : member.end]
            new = in_case_of(old, truth.text[right.start : right.end].lower())
            yield Operation(
                member.start, member.end, old, new, "answer", label, f"rule:{name}", 1.0, (right.start, right.end)
            )


def _unknown_finding(answer: Reading, truth: Reading, question: Question) -> Iterator[Operation]:
    """A closed answer about something that the lexicon does not know: only its polarity is sure."""
    if answer.said and truth.said and answer.said != truth.said:
        yield from flip_answer(answer.text, None, "rule:yes-no", commitment_at(truth.text))
