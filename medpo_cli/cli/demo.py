"""``medpo demo``: run the loop and print what came of it, wins and losses alike."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medpo_cli.cli.progress import make_progress, stop
from medpo_cli.errors import CannotCreateError, ExitCode
from medpo_cli.io.context import Context
from medpo_cli.io.log import Messages

if TYPE_CHECKING:
    from rich.table import Table

    from medpo_cli.schema.records import Summary

HELD_OUT = 200
ROWS = {
    "report.finding_accuracy": "findings right",
    "report.all_right": "reports all right",
    "report.hallucination": "hallucinated",
    "report.omission": "omitted",
    "report.side_error": "wrong side",
    "cooccurrence.cardiomegaly->pleural_effusion": "effusion by habit",
    "report.words": "words per report",
    "report.drift": "words changed",
    "report.flip_lesion": "withdrawn, lesion",
    "report.flip_control": "withdrawn, control",
    "report.specificity": "specificity",
    "report.flip_twin": "withdrawn, twin",
    "closed.accuracy": "yes/no right",
    "open.exact": "open answers right",
}
"""Rows of the table with labels short enough for 80 columns."""
LEGEND = (
    "Shares in per cent. + better, ! worse, ~ changed: the 95 % paired-bootstrap interval of the difference "
    "excludes 0. Withdrawn: findings no longer asserted when the lesion is destroyed, when an equal area elsewhere is "
    "(control), and on the same image without it (twin); specificity is lesion less control, in points. Effusion by "
    "habit: asserted beside a big heart without one."
)
INTERVALS = ("report.finding_accuracy", "report.hallucination", "report.specificity")
TITLES = {"phantom": "held-out drawn phantoms", "ct": "crops of a held-out patient's CT with inserted nodules"}
NOTE = (
    "A tiny, deliberately biased base model and template language: this shows that the loop works, "
    "nothing about clinical performance."
)


def run(folder: Path, *, domain: str, seeds: int, images: int, force: bool) -> ExitCode:
    """Run the demo into ``folder`` and print the table on standard output."""
    from rich.console import Console

    from medpo_cli.stages import demo

    _make_room(folder, force)
    messages = Messages("demo")
    progress = make_progress(messages)
    begun = time.monotonic()
    try:
        context = Context(folder, progress=progress)
        arms = demo.arms_of(seeds)
        summaries = demo.run(folder, arms, domain=domain, images=images, held_out=HELD_OUT, context=context)
    finally:
        stop(progress)
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(result_table(summaries, TITLES[domain]))
    console.print(LEGEND)
    console.print(interval_table(summaries))
    console.print(NOTE)
    seconds = time.monotonic() - begun
    messages("info", f"{seconds:.0f} s; page: {folder / 'report.html'}, records and adapters beside it")
    return ExitCode.DONE


def _make_room(folder: Path, force: bool) -> None:
    """Results of an earlier demo are written over only when asked; nothing is ever deleted."""
    if (folder / "summary.jsonl").exists() and not force:
        raise CannotCreateError(f"{folder.name} holds an earlier demo: --force replaces its results")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"{folder.name} cannot be made: {os.strerror(error.errno or 0)}") from None


def interval_table(summaries: "Sequence[Summary]") -> "Table":
    """The differences from the base that matter most, with their 95 % intervals."""
    from medpo_cli.evaluation.headline import measure_of, number

    table = _table("difference from the base [95 %]", "")
    for key in INTERVALS:
        table.add_column(ROWS[key], justify="right", no_wrap=True)
    for change in (one for one in summaries if one.against is not None):
        cells = []
        for key in INTERVALS:
            found, measure = change.metrics.get(key), measure_of(key)
            ends = [] if found is None else [found.value, found.low, found.high]
            shown = [number(measure, end, sign=True) for end in ends if end is not None]
            cells.append(f"{shown[0]} \\[{', '.join(shown[1:])}]" if len(shown) > 1 else "")
        table.add_row(str(change.arm), *cells)
    return table


def result_table(summaries: "Sequence[Summary]", title: str) -> "Table":
    """Base and every arm; each cell marked where it differs from the base beyond its interval."""
    arms = {str(one.arm): one for one in summaries if one.against is None}
    changes = {str(one.arm): one for one in summaries if one.against is not None}
    table = _table(title, "measure")
    for name in arms:
        table.add_column(name, justify="right")
    for key, label in ROWS.items():
        cells = [_cell(key, summary, changes.get(name)) for name, summary in arms.items()]
        if any(cells):
            table.add_row(label, *cells)
    return table


def _table(title: str, first: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _cell(key: str, summary: "Summary", change: "Summary | None") -> str:
    """A value and its mark."""
    from medpo_cli.evaluation.headline import MARKS, measure_of, number, verdict

    value, measure = summary.metrics.get(key), measure_of(key)
    difference = change.metrics.get(key) if change else None
    mark = MARKS[verdict(measure, difference)].replace("=", " ")
    return "" if value is None else f"{number(measure, value.value)} {mark}"
