"""Which fields of a record an objective reads; checked before any model is loaded."""

from collections.abc import Collection, Sequence

from medpo_cli.errors import RecordError
from medpo_cli.schema import objectives as kinds
from medpo_cli.schema.extras import WHERE, AlignExtras, extras
from medpo_cli.schema.records import Case, Pair, Ranking

LISTS = ("*",)
MADE_BY = {
    "$.chosen": "medpo edit",
    "$.responses": "medpo edit --emit ranking",
    "$.corrupted": "medpo corrupt",
    f"{WHERE}.ladder": "medpo corrupt --ladder",
    "$.weights.example": "medpo edit --weights clinical",
    "$.weights.flip": "medpo edit --weights confidence",
    f"{WHERE}.token_weights": "medpo edit --weights tokens",
    f"{WHERE}.degree": "medpo edit --degrees",
}
"""Stages that write what a method may lack."""


def sequences_of(terms: Sequence[kinds.Term]) -> dict[str, None]:
    """Names of all sequences, in order of first use."""
    return dict.fromkeys(name for term in terms for name in term.sequences)


def is_listwise(terms: Sequence[kinds.Term]) -> bool:
    """Whether the objective learns from rankings instead of pairs."""
    return any(name in LISTS for name in sequences_of(terms))


def absent(name: str, record: Case, more: AlignExtras) -> str | None:
    """JSON path of the field that the sequence ``name`` lacks in ``record``; None if all is there."""
    if name == "*":
        return None if isinstance(record, Ranking) else "$.responses"
    if not isinstance(record, Pair):
        return "$.chosen"
    if name.startswith("'") and record.corrupted is None:
        return "$.corrupted"
    if "2" in name and more.twin is None:
        return f"{WHERE}.twin"
    if name == "#" and more.ladder is None:
        return f"{WHERE}.ladder"
    if name.endswith("r") and not (record.reference or "").strip():
        return "$.reference"
    return None


def usable(term: kinds.Term, record: Case, more: AlignExtras) -> bool:
    """Whether the record has all sequences of the term."""
    return all(absent(name, record, more) is None for name in term.sequences)


def check_fields(record: Case, terms: Sequence[kinds.Term], method: str) -> Case:
    """The record, if it has every field that the terms read and they have something to learn from it.

    Raises:
        RecordError: ``field-missing`` with the field's path, ``no-signal`` where both answers or all rewards
            are equal, ``extras-malformed``, ``rollouts`` where a policy gradient does not get two answers,
            ``degree`` beyond the head's classes.
    """
    more = extras(record)
    for term in terms:
        for name in term.sequences:
            path = absent(name, record, more)
            if path and not (term.optional and path == "$.corrupted"):
                raise _lacks(method, path)
        for path in missing(term, record, more):
            raise _lacks(method, path)
    if isinstance(record, Pair):
        if {"+", "-"} <= set(sequences_of(terms)) and record.chosen == record.rejected and more.only is None:
            raise RecordError("no-signal", "chosen and rejected are the same text", "$.rejected")
    elif isinstance(record, Ranking) and len({one.reward for one in record.responses}) == 1:
        raise RecordError("no-signal", "all rewards are equal", "$.responses")
    return record


def _lacks(method: str, path: str) -> RecordError:
    made = f" ({MADE_BY[path]} makes it)" if path in MADE_BY else ""
    return RecordError("field-missing", f"method {method} needs this field{made}", path)


def missing(term: kinds.Term, record: Case, more: AlignExtras) -> Collection[str]:
    """Paths of fields beside the sequences that the term reads and the record lacks."""
    weights = getattr(record, "weights", None)
    if isinstance(term, kinds.PolicyGradient) and isinstance(record, Ranking):
        if len(record.responses) != 2:
            raise RecordError("rollouts", "a pairwise policy gradient needs exactly two answers", "$.responses")
        if len(more.old_logprobs or ()) != 2:
            return [f"{WHERE}.old_logprobs"]
    if isinstance(term, kinds.Degree) and more.degree:
        if max(more.degree.chosen, more.degree.rejected) >= term.classes:
            raise RecordError("degree", f"a degree must lie below {term.classes}", f"{WHERE}.degree")
    wanted = {
        "$.spans": _reads_edits(term, more) and not getattr(record, "spans", None),
        "$.weights.flip": getattr(term, "flip", False) and (weights is None or weights.flip is None),
        "$.weights.example": getattr(term, "need_weight", False) and (weights is None or weights.example is None),
        f"{WHERE}.token_weights": getattr(term, "weigh", "") == "record" and not _both(more),
        f"{WHERE}.degree": isinstance(term, kinds.Degree) and more.degree is None,
    }
    return [path for path, lacks in wanted.items() if lacks]


def _reads_edits(term: kinds.Term, more: AlignExtras) -> bool:
    """Whether the term looks at the record's spans."""
    scope = getattr(term, "scope", "")
    return scope == "span" or getattr(term, "weigh", "") == "span" or (scope == "sentence" and more.keep is None)


def _both(more: AlignExtras) -> bool:
    sides = more.token_weights or more.word_weights
    return sides is not None and sides.chosen is not None and sides.rejected is not None
