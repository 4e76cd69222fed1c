"""What a page shows, free of HTML: the renderer turns these into one file.

A page of results has rows and charts; a page of pairs has cases only. Text is already masked here
when it must not be shown: a masked word has no characters at all.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medpo_cli.evaluation.headline import Row


@dataclass(frozen=True)
class Outline:
    """The border of a region: an SVG path in pixel coordinates (x right, y down)."""

    label: str
    path: str
    dashed: bool = False


@dataclass(frozen=True)
class Picture:
    """One view: uint8 [H, W, 3], with outlines on the same grid."""

    title: str
    pixels: NDArray[np.uint8]
    outlines: tuple[Outline, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Word:
    """One word and the white space after it; ``text`` is None when words are masked."""

    text: str | None
    marked: bool = False


@dataclass(frozen=True)
class Answer:
    """One text: whose it is, its words, and whether it is right (None: not judged)."""

    title: str
    words: tuple[Word, ...]
    right: bool | None = None


@dataclass(frozen=True)
class Chip:
    """One finding of a report: what is true, and what each arm said."""

    finding: str
    truth: str
    said: tuple[tuple[str, str, bool], ...]  # (arm, status or error, right)


@dataclass(frozen=True)
class CaseView:
    """One case in the browser."""

    id: str
    kind: str
    prompt: tuple[Word, ...]
    pictures: tuple[Picture, ...]
    answers: tuple[Answer, ...]
    chips: tuple[Chip, ...] = ()
    fixed: bool = False
    broken: bool = False

    @property
    def state(self) -> Literal["fixed", "broken", "both", "same"]:
        """Which filter shows the case."""
        if self.fixed and self.broken:
            return "both"
        return "fixed" if self.fixed else "broken" if self.broken else "same"


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name, its place among the two colours, its points (x, y)."""

    name: str
    place: int
    points: tuple[tuple[float, float], ...]
    dots: bool = False


@dataclass(frozen=True)
class Lines:
    """A line chart.

    Attributes:
        title: what is drawn, with its unit.
        x_label: what lies along the x axis.
        lines: in the order of the legend.
        x_range: ends of the x axis; None for those of the points. ``y_range`` likewise.
        diagonal: also draw y = x, thin.
    """

    title: str
    x_label: str
    lines: tuple[Line, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    diagonal: bool = False

    def without_empty(self) -> "Lines":
        """The chart without lines that have no point."""
        return replace(self, lines=tuple(line for line in self.lines if line.points))


@dataclass(frozen=True)
class Page:
    """All of a page.

    Attributes:
        title: the heading.
        subtitle: one line below it.
        rows: of the headline table; empty on a page of cases only.
        errors: rows of the chart of errors by kind.
        grounding: charts of lesion against control as (heading, rows).
        calibration: reliability and risk over coverage of yes/no questions.
        attention: attention by decoder layer; ``unseen`` says in which cases it was not available.
        training: curves of the run that made the adapter.
        cases: those embedded.
        total: cases there were; more than ``cases`` is said on the page.
        with_text: whether words are shown.
        facts: small print as (name, value).
        notes: further sentences of the small print.
    """

    title: str
    subtitle: str
    cases: tuple[CaseView, ...]
    total: int
    with_text: bool
    rows: tuple[Row, ...] = ()
    errors: tuple[Row, ...] = ()
    grounding: tuple[tuple[str, tuple[Row, ...]], ...] = ()
    calibration: tuple[Lines, ...] = ()
    attention: tuple[Lines, ...] = ()
    unseen: str = ""
    training: tuple[Lines, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())
