"""A page of records to look at before anything is trained: cases, samples, pairs."""

from collections.abc import Iterable
from pathlib import Path

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.items import KINDS
from medpo_cli.evaluation.page.model import Answer, CaseView, Page
from medpo_cli.evaluation.page.pictures import pictures_of
from medpo_cli.evaluation.page.render import write_page
from medpo_cli.evaluation.page.words import marked, spans
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, Pair, Sample

SHOWN = 60
"""Records on a page."""


def write_records_page(
    path: Path, records: Iterable[Case], context: Context, *, with_text: bool, limit: int = SHOWN
) -> int:
    """Write a page of the first ``limit`` records; returns how many there were.

    A record whose images cannot be read is rejected. Words are masked unless ``with_text``.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: the disk is full.
    """
    views: list[CaseView] = []
    total = 0
    for record in records:
        total += 1
        if len(views) < limit:
            try:
                views.append(record_view(record, context, with_text=with_text))
            except RecordError as error:
                context.reject(record.id, error)
    edits = any(view.kind in ("corrected", "counterfactual") for view in views)
    page = Page(
        title="Pairs" if edits else "Records",
        subtitle=f"{total} records" + (", marked where chosen and rejected differ" if edits else ""),
        cases=tuple(views),
        total=total,
        with_text=with_text,
    )
    write_page(path, page)
    return total


def record_view(record: Case, context: Context, *, with_text: bool) -> CaseView:
    """One record as it is shown; the spans of a pair are marked.

    Raises:
        RecordError: an image cannot be read.
    """
    return CaseView(
        id=record.id,
        kind=record.origin if isinstance(record, Pair) else KINDS[record.task],
        prompt=marked(record.prompt, None, with_text=with_text),
        pictures=pictures_of(record, context, with_text=with_text),
        answers=_answers(record, with_text=with_text),
    )


def _answers(record: Case, *, with_text: bool) -> tuple[Answer, ...]:
    shown = []
    if record.reference is not None:
        shown.append(Answer("reference", marked(record.reference, None, with_text=with_text)))
    if isinstance(record, Sample):
        many = len(record.responses) > 1
        for number, response in enumerate(record.responses, start=1):
            title = f"answer {number}" if many else "answer"
            shown.append(Answer(title, marked(response.text, None, with_text=with_text)))
    if isinstance(record, Pair):
        for side in ("chosen", "rejected"):
            offsets = [getattr(span, side) for span in record.spans]
            title = f"{side} (the policy's own)" if record.on_policy == side else side
            shown.append(Answer(title, spans(getattr(record, side), offsets, with_text=with_text)))
    return tuple(shown)
