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
ROWS = (
    "report.finding_accuracy",
    "report.all_right",
    "report.hallucination",
    "report.omission",
    "report.side_error",
    "cooccurrence.cardiomegaly->pleural_effusion",
    "report.words",
    "report.drift",
    "report.flip_lesion",
    "report.flip_control",
    "report.specificity",
    "report.flip_twin",
    "closed.accuracy",
    "open.exact",
)
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
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(result_table(summaries, TITLES[domain]))
    console.print("+ better  ! worse  ~ changed: the 95 % paired-bootstrap interval of the difference excludes 0.")
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


def result_table(summaries: "Sequence[Summary]", title: str) -> "Table":
    """Base and every arm; each cell marked where it differs from the base beyond its interval."""
    from rich.table import Table

    from medpo_cli.evaluation.headline import MARKS, measure_of, number, unit, verdict

    arms = {str(one.arm): one for one in summaries if one.against is None}
    changes = {str(one.arm): one for one in summaries if one.against is not None}
    table = Table(title=title, title_justify="left")
    table.add_column("measure")
    for name in arms:
        table.add_column(name, justify="right")
    for key in ROWS:
        measure = measure_of(key)
        cells = [f"{measure.label} ({unit(measure)})"]
        for name, summary in arms.items():
            value = summary.metrics.get(key)
            change = changes[name].metrics.get(key) if name in changes else None
            mark = MARKS[verdict(measure, change)].replace("=", " ")
            cells.append("" if value is None else f"{number(measure, value.value)} {mark}")
        if any(cells[1:]):
            table.add_row(*cells)
    return table
