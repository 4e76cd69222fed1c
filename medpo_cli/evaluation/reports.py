"""Reports against the truth, finding by finding, and how far wording moved from the base's.

A statement is one finding (or one side of it, where the reference speaks of the sides on their own)
that the reference mentions, or that the answer asserts. A finding which an answer does not mention
counts as not asserted (closed world), so that an answer without negatives is judged by what it
leaves out, and ``missing`` says how much that was. Denials on which the reference is silent count
for nothing: a long list of denials gains no accuracy.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from medpo_cli.evaluation.answers import normalise
from medpo_cli.text.facts import Comparison, Fact, Match, compare
from medpo_cli.text.words import word_count

WRONG = frozenset({"hallucinated", "omitted", "hedged", "side"})
"""Errors that make a statement wrong; those of further attributes are counted on their own."""

ERRORS = (
    "hallucinated", "omitted", "hedged", "side", "location", "severity", "size", "change", "number", "margin",
    "texture",
)  # fmt: skip


@dataclass
class Statement:
    """One finding of the reference, or one that only the answer asserts."""

    label: str
    truth: str
    said: list[str] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)
    expected: bool = True

    @property
    def right(self) -> bool:
        """Status and side are as in the reference."""
        return not self.errors & WRONG

    @property
    def stated(self) -> str:
        """What the answer said: a status, ``contradictory`` or ``not mentioned``."""
        distinct = set(self.said)
        if {"present", "absent"} <= distinct:
            return "contradictory"
        return self.said[0] if self.said else "not mentioned"

    @property
    def asserted(self) -> bool:
        """Whether the answer says at least once that it is there."""
        return "present" in self.said

    def add(self, match: Match) -> None:
        """Take in one more thing that the answer said about it."""
        if match.said is not None:
            self.said.append(match.said.status)
        self.errors.update(match.errors)


def statements(comparison: Comparison, truth: Sequence[Fact]) -> list[Statement]:
    """The statements of one report, those of the reference first; each label occurs once.

    Labels depend on the reference alone (``nodule``, ``nodule:left`` where it speaks of sides), so
    that two answers to one case can be compared; what only the answer asserts is ``nodule:extra``,
    or ``nodule`` if the reference has none.
    """
    often = Counter(fact.finding for fact in _merged(truth))
    found: dict[str, Statement] = {}
    for match in sorted(comparison.matches, key=lambda match: match.truth is None):
        label = _label(match, often, found)
        if match.truth is None and label not in found:
            if match.said is None or match.said.status != "present":
                continue
            found[label] = Statement(label, "absent", expected=False)
        elif label not in found and match.truth is not None:
            found[label] = Statement(label, match.truth.status)
        found[label].add(match)
    return list(found.values())


def _merged(truth: Iterable[Fact]) -> list[Fact]:
    """Facts of the reference that differ in finding, side or status (a repeated one counts once)."""
    return list({(fact.finding, fact.side, fact.status): fact for fact in truth}.values())


def _label(match: Match, often: Counter[str], found: dict[str, Statement]) -> str:
    fact = match.truth or match.said
    if fact is None:
        raise ValueError("a match without facts")
    finding, side = fact.finding, fact.side
    if match.truth is not None:
        return finding if often[finding] == 1 else f"{finding}:{side or 'any'}"
    if often[finding] == 0:
        return finding
    here = finding if often[finding] == 1 else f"{finding}:{side or 'any'}"
    # an assertion beside a true presence is one more lesion; beside an absence it contradicts that
    denied = here in found and found[here].truth != "present"
    return here if denied or fact.status != "present" else f"{finding}:extra"


def report_counts(
    answer: str, said: Sequence[Fact], truth: Sequence[Fact]
) -> tuple[dict[str, float], dict[str, dict[str, object]]]:
    """Counts of one report, and each statement as ``{label: {truth, said, right, errors}}``.

    Args:
        answer: the text, for its words.
        said: facts of the answer.
        truth: facts of the reference; without any, only words and contradictions are counted.
    """
    comparison = compare(said, truth)
    table = statements(comparison, truth) if truth else []
    counts = {
        "items": 1.0,
        "judged": float(bool(truth)),
        "words": float(word_count(answer)),
        "contradictory": float(bool(comparison.contradictory)),
        "statements": float(len(table)),
        "right": float(sum(row.right for row in table)),
        "right_full": float(sum(not row.errors for row in table)),
        "all_right": float(bool(truth) and not any(row.errors for row in table)),
        "present": float(sum(row.truth == "present" for row in table)),
        "absent": float(sum(row.truth == "absent" for row in table)),
        "asserted": float(sum(row.asserted for row in table)),
        "expected": float(sum(row.expected for row in table)),
        "missing": float(sum(row.expected and not row.said for row in table)),
        "covered": float(sum(row.truth == "present" and row.asserted for row in table)),
        "hallucinating": float(any("hallucinated" in row.errors for row in table)),
        **_agreement("facts", _stated(said), _stated(truth)),
        **_agreement("tuples", {fact.key for fact in said}, {fact.key for fact in truth}),
        **(_agreement("changes", _changes(said), _changes(truth), silent=True) if truth else {}),
    }
    for error in ERRORS:
        name = error if error in ("hallucinated", "omitted", "hedged") else f"{error}_errors"
        counts[name] = float(sum(error in row.errors for row in table))
    shown = {
        row.label: {"truth": row.truth, "said": row.stated, "right": row.right, "errors": sorted(row.errors)}
        for row in table
    }
    return {f"report.{name}": value for name, value in counts.items()}, shown


def _stated(facts: Iterable[Fact]) -> set[object]:
    return {(fact.finding, fact.status) for fact in facts}


def _changes(facts: Iterable[Fact]) -> set[object]:
    return {(fact.finding, fact.change) for fact in facts if fact.change and fact.status != "absent"}


def _agreement(name: str, said: set[object], truth: set[object], *, silent: bool = False) -> dict[str, float]:
    """What F1 over sets is made of: elements shared, and elements of both; nothing where there is no truth.

    With ``silent`` a truth that says nothing is one: what is said is too much.

    Of many reports 2 * shared / both is the F1 of pooled counts (micro). Unlike in statements, a denial on which
    the reference is silent is an element too many here.
    """
    if not truth and not silent:
        return {f"{name}_shared": 0.0, f"{name}_both": 0.0}
    return {f"{name}_shared": float(len(said & truth)), f"{name}_both": float(len(said) + len(truth))}


def drift(answer: str, base: str) -> float:
    """Share of words changed: Levenshtein distance of normalised words over the longer length.

    0 for the same words, 1 when nothing is kept; both empty: 0.
    """
    ours, theirs = normalise(answer), normalise(base)
    longest = max(len(ours), len(theirs))
    return _edits(ours, theirs) / longest if longest else 0.0


def _edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Least number of words inserted, deleted or replaced."""
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (word != other))
    return row[-1]
