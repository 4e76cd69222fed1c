"""The page of an evaluation: which cases it shows, and how records become what it shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.headline import KINDS, Row, headline, shortcuts
from medpo_cli.evaluation.items import kind_of
from medpo_cli.evaluation.page.attention import attention_curves, missing
from medpo_cli.evaluation.page.calibration import calibration
from medpo_cli.evaluation.page.model import Answer, CaseView, Chip, Page
from medpo_cli.evaluation.page.pictures import pictures_of
from medpo_cli.evaluation.page.render import write_page
from medpo_cli.evaluation.page.training import training_curves
from medpo_cli.evaluation.page.words import marked
from medpo_cli.evaluation.summaries import changes
from medpo_cli.io.context import Context
from medpo_cli.io.files import short_hash
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, Pair, Score, Step, Summary

_ERRORS = ("hallucination", "omission", "side_error", "location_error", "severity_error", "size_error", "hedged")
_FLIPS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("report", "closed", "open"), ("flip_lesion", "flip_twin", "flip_control")
)
_FLIPS["pair"] = ("reversal_lesion", "reversal_control")
_MAIN = {
    "report": "report.finding_accuracy",
    "closed": "closed.accuracy",
    "open": "open.exact",
    "pair": "pair.accuracy",
}


@dataclass(frozen=True)
class Seen:
    """One case with its scores, and whether anything about it was fixed or broken."""

    case: Case
    scores: tuple[Score, ...]
    fixed: bool
    broken: bool


@dataclass
class Gallery:
    """Collects cases while they are scored; holds no image.

    Attributes:
        training: step records of the run that made the adapter.
        seen: all cases so far.
    """

    training: Sequence[Step] = ()
    seen: list[Seen] = field(default_factory=list)

    def add(self, case: Case, scores: Sequence[Score]) -> None:
        """Remember a case."""
        fixed = broken = 0
        if len(scores) > 1:
            fixed, broken = changes(_MAIN[_kind(case)], [scores[0]], [scores[-1]])
        self.seen.append(Seen(case, tuple(scores), bool(fixed), bool(broken)))

    def chosen(self, most: int) -> list[Seen]:
        """Those that go on the page: fixed and broken first, then a fair pick of the others."""
        moved = [seen for seen in self.seen if seen.fixed or seen.broken]
        still = [seen for seen in self.seen if not (seen.fixed or seen.broken)]
        ranked = [sorted(group, key=lambda seen: short_hash(seen.case.id)) for group in (moved, still)]
        return [seen for group in ranked for seen in group][:most]

    def write(self, path: Path, summaries: Sequence[Summary], config: EvalConfig, context: Context) -> None:
        """Write the page; a case whose images are gone is left out."""
        views = []
        for seen in self.chosen(config.html_cases):
            try:
                views.append(case_view(seen, context, with_text=config.with_text))
            except RecordError as error:
                context.progress.note(f"id {seen.case.id} is not on the page: {error.message}")
        write_page(path, results_page(summaries, views, self.seen, config, self.training))


def results_page(
    summaries: Sequence[Summary],
    views: Sequence[CaseView],
    seen: Sequence[Seen],
    config: EvalConfig,
    training: Sequence[Step] = (),
) -> Page:
    """The content of the page."""
    arms = [str(summary.arm) for summary in summaries if summary.against is None]
    flips = [headline(summaries, [f"{kind}.{name}" for name in names]) for kind, names in _FLIPS.items()]
    return Page(
        title=_title(arms),
        subtitle=_subtitle(seen),
        cases=tuple(views),
        total=len(seen),
        with_text=config.with_text,
        rows=tuple(headline(summaries, extra=shortcuts(summaries))),
        errors=tuple(_measured(headline(summaries, [f"report.{name}" for name in _ERRORS]))),
        grounding=tuple((KINDS[rows[0].measure.kind], tuple(rows)) for rows in flips if rows),
        calibration=calibration(summaries),
        attention=attention_curves(summaries),
        unseen=missing(score for item in seen for score in item.scores),
        training=training_curves(training),
        facts=_facts(summaries, config),
        notes=_NOTES,
    )


_NOTES = (
    "A finding is right when its status and its side are as in the reference; findings that an answer does not "
    "mention count as not asserted. Findings are read from the text by rules, without a judge model.",
    "The control destroys an area of the same size elsewhere in the image. Twins are images rendered without the "
    "lesion; only synthetic cases have them.",
)


def _title(arms: Sequence[str]) -> str:
    if len(arms) > 1:
        return f"{arms[-1].capitalize()} against {arms[0]}"
    return {"base": "Base model", "aligned": "Aligned model", "given": "Given answers"}.get(arms[0] if arms else "", "")


def _subtitle(seen: Sequence[Seen]) -> str:
    names = {"report": "reports", "closed": "closed questions", "open": "open questions", "pair": "pairs"}
    counts = {kind: sum(_kind(item.case) == kind for item in seen) for kind in names}
    groups = len({item.case.group or item.case.id for item in seen})
    counted = ", ".join(f"{count} {names[kind]}" for kind, count in counts.items() if count)
    return f"{counted} in {groups} groups (images or patients)"


def _facts(summaries: Sequence[Summary], config: EvalConfig) -> tuple[tuple[str, str], ...]:
    if not summaries:
        return ()
    drawn = ("bootstrap", f"{config.bootstrap} draws, seed {summaries[0].seed}")
    return (("profile", summaries[0].profile), drawn, *summaries[0].versions.items())


def _measured(rows: Sequence[Row]) -> list[Row]:
    """Rows where at least one arm made such an error."""
    return [row for row in rows if any(cell and cell.value > 0 for cell in row.cells.values())]


def case_view(seen: Seen, context: Context, *, with_text: bool) -> CaseView:
    """One case as it is shown.

    Raises:
        RecordError: an image cannot be read.
    """
    case = seen.case
    kind = _kind(case)
    return CaseView(
        id=case.id,
        kind={"closed": "closed question", "open": "open question"}.get(kind, kind),
        prompt=marked(case.prompt, None, with_text=with_text),
        pictures=pictures_of(case, context, with_text=with_text),
        answers=_answers(seen, with_text=with_text),
        chips=_chips(seen.scores),
        fixed=seen.fixed,
        broken=seen.broken,
    )


def _kind(case: Case) -> str:
    return "pair" if isinstance(case, Pair) else kind_of(case)


def _answers(seen: Seen, *, with_text: bool) -> tuple[Answer, ...]:
    case = seen.case
    if isinstance(case, Pair):
        sides = (("chosen", case.chosen, case.rejected), ("rejected", case.rejected, case.chosen))
        return tuple(Answer(name, marked(text, other, with_text=with_text)) for name, text, other in sides)
    shown = [Answer("reference", marked(case.reference or "", None, with_text=with_text))]
    texts = [score.answer for score in seen.scores]
    for k, score in enumerate(seen.scores):
        if score.answer is not None:
            other = texts[0 if k else -1] if len(texts) > 1 else None
            words = marked(score.answer, other, with_text=with_text)
            shown.append(Answer(str(score.arm), words, _right(score)))
    return tuple(shown)


def _right(score: Score) -> bool | None:
    """Whether the whole answer is right; None where the task has no such judgement."""
    for key in ("report.all_right", "closed.right", "open.exact"):
        if key in score.metrics:
            return score.metrics[key] >= 1
    return None


def _chips(scores: Sequence[Score]) -> tuple[Chip, ...]:
    """Findings of all arms, in the order of the first."""
    tables = [(str(score.arm), (score.ext or {}).get("findings", {})) for score in scores]
    labels = dict.fromkeys(label for _, table in tables for label in table)
    chips = []
    for label in labels:
        truth = next(table[label]["truth"] for _, table in tables if label in table)
        said = tuple((arm, _said(table.get(label)), _fine(table.get(label))) for arm, table in tables)
        chips.append(Chip(label.replace("_", " ").replace(":", ", "), truth, said))
    return tuple(chips)


def _said(entry: dict[str, object] | None) -> str:
    if entry is None:
        return "not mentioned"
    errors = entry["errors"]
    details = [name for name in errors if name not in ("hallucinated", "omitted")] if isinstance(errors, list) else []
    return f"{entry['said']} ({', '.join(map(str, details))})" if details else str(entry["said"])


def _fine(entry: dict[str, object] | None) -> bool:
    return entry is None or not entry["errors"]
