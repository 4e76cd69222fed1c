"""``medpo import``: rows of another tool as pairs or cases, verified as far as they can be without a reference."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, Checks, Editor, ImageRef, Pair, Span, SpanKind, Weights
from medpo_cli.stages.foreign.formats import CASES, PAIRS, Foreign, untagged
from medpo_cli.text.anchors import check_spans
from medpo_cli.text.comparison import meaning
from medpo_cli.text.diff import difference
from medpo_cli.text.fact import ATTRIBUTES, Fact, Offsets
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon, load_lexicon
from medpo_cli.text.operations import Edited, Operation, apply
from medpo_cli.text.verify import check_text
from medpo_cli.text.words import nfc, word_count

VERSION = "1"
LARGEST_SHARE = 0.8
FORMATS = (*PAIRS, *CASES)
_KINDS: dict[str, SpanKind] = {
    "side": "side", "location": "location", "severity": "severity", "size_mm": "size", "change": "change",
}  # fmt: skip


def run(rows: Iterable[tuple[int, Any]], name: str, context: Context, *, images: str = "") -> Iterator[Pair | Case]:
    """Turn foreign rows into records, in order; those that cannot be used are rejected with their number as id.

    Args:
        rows: number and value, as ``foreign.rows.rows`` gives them.
        name: format.
        context: reject sink. Codes: ``row-malformed``, ``field-missing``, ``field-malformed``, ``image-missing``,
            ``image-malformed``, ``path-escape``, ``several-turns``, ``tags-unbalanced``, ``same-text``,
            ``rewritten``, ``duplicate-id``, those of ``text.verify.check_text`` and ``text.anchors.check_spans``.
        images: folder of the images, relative to the root.
    """
    reader = _Reader(name, images)
    context.progress.start("import")
    for number, row in rows:
        try:
            made = reader.records(number, row)
        except RecordError as error:
            context.reject(f"row-{number}", error)
        else:
            yield from made
        context.progress.advance()


class _Reader:
    """One format."""

    def __init__(self, name: str, images: str) -> None:
        self._name, self._images = name, images
        self._read = PAIRS.get(name) or CASES[name]
        self._lexicon: Lexicon = load_lexicon()
        digest = hashlib.sha256(f"import\0{name}\0{VERSION}\0{self._lexicon.digest}".encode()).hexdigest()
        self._editor = Editor(name=f"import:{name}", version=VERSION, digest=digest)
        self._seen: set[str] = set()

    def records(self, number: int, row: Any) -> list[Pair | Case]:
        if not isinstance(row, dict):
            raise RecordError("row-malformed", "the row is no JSON object")
        made = [self._record(number, place, one) for place, one in enumerate(self._read(row))]
        for record in made:
            if record.id in self._seen:
                raise RecordError("duplicate-id", "an earlier row has this id")
            self._seen.add(record.id)
        return made

    def _record(self, number: int, place: int, row: Foreign) -> Pair | Case:
        refs = [ImageRef(path=self._path(path)) for path in row.images]
        name = row.id or (f"row-{number}" if not place else f"row-{number}.{place}")
        shared: dict[str, Any] = {
            "id": name, "image": refs if len(refs) > 1 else refs[0], "prompt": nfc(row.prompt), "task": row.task,
            "group": None if row.group is None else hashlib.sha256(row.group.encode()).hexdigest()[:16],
        }  # fmt: skip
        if self._name in CASES:
            return Case(**shared, reference=nfc(row.reference or ""), ext=dict(row.about) or None)
        return self._pair(row, shared)

    def _path(self, path: str) -> str:
        whole = f"{self._images.rstrip('/')}/{path}" if self._images else path
        if whole.startswith(("/", "~")) or ".." in Path(whole).parts or "://" in whole or "\0" in whole:
            raise RecordError("path-escape", "an image path must stay under the root (see --images)")
        return whole

    def _pair(self, row: Foreign, shared: dict[str, Any]) -> Pair:
        chosen, rejected = (
            nfc(untagged(text, f"$.{side}") if row.tagged else text.strip())
            for side, text in (("chosen", row.chosen), ("rejected", row.rejected))
        )
        for text, path in ((chosen, "$.chosen"), (rejected, "$.rejected")):
            check_text(text, path)
        if chosen == rejected:
            raise RecordError("same-text", "chosen and rejected are the same text", "$.rejected")
        spans = self._spans(chosen, rejected)
        check_spans(chosen, rejected, spans, "")
        checks = _checks(chosen, rejected, spans, self._lexicon)
        if checks.word_ratio > LARGEST_SHARE and word_count(chosen) > 4:
            raise RecordError("rewritten", "nearly every word differs: no minimal edit", "$.chosen")
        on_policy = row.on_policy
        return Pair(
            **shared, chosen=chosen, rejected=rejected, on_policy=on_policy, spans=spans, editor=self._editor,
            origin="counterfactual" if on_policy == "chosen" else "corrected", checks=checks,
            weights=None if row.weight is None else Weights(example=float(row.weight)),
        )  # fmt: skip

    def _spans(self, chosen: str, rejected: str) -> list[Span]:
        """Words that differ, widened where a side has none, labelled by the facts that they touch."""
        found = difference(rejected, chosen)
        facts = (extract(rejected, self._lexicon), extract(chosen, self._lexicon))
        operations = []
        for ours, theirs in found:
            kind, label = _named(ours, theirs, *facts)
            quote, text = rejected[slice(*ours)], chosen[slice(*theirs)]
            operations.append(Operation(*ours, quote, text, kind, label, self._editor.name, 0.5))
        edited: Edited = apply(rejected, operations)
        return edited.spans(chosen_is_after=True)


def _named(ours: Offsets, theirs: Offsets, said: list[Fact], truth: list[Fact]) -> tuple[SpanKind, str | None]:
    """Kind and finding of a difference, by the first fact whose words it touches on either side."""
    for place, facts in ((theirs, truth), (ours, said)):
        for fact in facts:
            for name in ("status", *ATTRIBUTES, "finding"):
                if name in fact.at and _touch(place, fact.at[name]):
                    kind: SpanKind = "finding" if name == "finding" else "status" if name == "status" else "other"
                    return _KINDS.get(name, kind), fact.finding
    return "other", None


def _touch(a: Offsets, b: Offsets) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _checks(chosen: str, rejected: str, spans: list[Span], lexicon: Lexicon) -> Checks:
    words = max(
        sum(word_count(chosen[slice(*span.chosen)]) for span in spans),
        sum(word_count(rejected[slice(*span.rejected)]) for span in spans),
    )
    ours, theirs = meaning(extract(chosen, lexicon)), meaning(extract(rejected, lexicon))
    changed = max((ours - theirs).total(), (theirs - ours).total())
    ratio = words / max(word_count(chosen), word_count(rejected), 1)
    return Checks(word_ratio=round(min(ratio, 1.0), 4), edits=len(spans), facts_changed=changed)
