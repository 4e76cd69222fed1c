"""From a page's content to one HTML file without any reference to the outside."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medpo_cli.evaluation.headline import Row, number, probability, sections, unit
from medpo_cli.evaluation.page.draw import png_address
from medpo_cli.evaluation.page.lines import HEIGHT, WIDTH, plot
from medpo_cli.evaluation.page.model import CaseView, Page
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.records import Interval

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent


def write_page(path: Path, page: Page) -> None:
    """Write ``page`` to ``path`` in one piece.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: the disk is full.
    """
    write_atomic(path, render(page).encode())


def template(name: str, **helpers: Any) -> "Template":
    """A template of this folder: what it is given is escaped unless marked safe, what it lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(helpers)
    return environment.get_template(name)


def asset(name: str) -> str:
    """A style sheet or script of this folder."""
    return (_HERE / name).read_text(encoding="utf-8")


def render(page: Page) -> str:
    """The page as HTML; everything that came from records is escaped."""
    pictures = _Pictures()
    cases = list(pictures.fitting(page.cases))
    context: dict[str, Any] = {
        "page": page,
        "style": asset("page.css"),
        "script": asset("page.js"),
        "arms": list(page.rows[0].cells) if page.rows else [],
        "figures": [_figure(row) for row in page.rows if row.measure.name in _FIGURES][:4],
        "forest": _forest(page.rows),
        "sections": sections(page.rows),
        "errors": _bars(page.errors),
        "grounding": [(title, _bars(rows)) for title, rows in page.grounding],
        "calibration": [plot(lines) for lines in page.calibration],
        "attention": [plot(lines) for lines in page.attention],
        "training": [plot(lines) for lines in page.training],
        "plot_size": (WIDTH, HEIGHT),
        "cases": cases,
        "counts": _counts([case for case, _ in cases]),
        "kinds": sorted({case.kind for case, _ in cases}),
        "pictures": pictures.addresses,
    }
    return template("page.html", number=number, probability=probability, unit=unit).render(context)


_FIGURES = ("report.finding_accuracy", "report.hallucination", "report.specificity", "closed.accuracy", "pair.accuracy")


@dataclass(frozen=True)
class Figure:
    """One of the large numbers at the top."""

    row: Row
    before: Interval | None
    after: Interval


def _figure(row: Row) -> Figure:
    cells = [cell for cell in row.cells.values() if cell is not None]
    return Figure(row, cells[0] if len(cells) > 1 else None, cells[-1])


@dataclass(frozen=True)
class Whisker:
    """An interval on a scale, all in per cent of the width."""

    low: float
    high: float
    at: float


def _forest(rows: Sequence[Row]) -> dict[str, Whisker]:
    """Differences of shares on one common scale around zero, by measure."""
    shares = {
        row.measure.name: row.change
        for row in rows
        if row.change is not None and row.change.low is not None and row.measure.unit in ("share", "points")
    }
    reach = max((max(abs(change.low or 0), abs(change.high or 0)) for change in shares.values()), default=0) or 1.0
    return {name: _around_zero(change, reach) for name, change in shares.items()}


def _around_zero(change: Interval, reach: float) -> Whisker:
    """Where an interval lies when -reach to reach fills the middle 96 % of the width."""
    low, high, at = (
        round(50 + 48 * value / reach, 2) for value in (change.low or 0.0, change.high or 0.0, change.value)
    )
    return Whisker(low, high, at)


@dataclass(frozen=True)
class Bar:
    """One bar of a group: the arm, its value and whisker in per cent of the chart's width."""

    arm: str
    place: int
    width: float
    text: str
    whisker: Whisker | None


@dataclass(frozen=True)
class Bars:
    """A chart: groups of bars (one per measure) on one scale, with its ticks (place, text)."""

    groups: tuple[tuple[str, tuple[Bar, ...]], ...]
    ticks: tuple[tuple[float, str], ...]


def _bars(rows: Sequence[Row]) -> Bars:
    """Bars of measures that are shares, scaled to the largest end of an interval."""
    values = [(cell.high or cell.value) for row in rows for cell in row.cells.values() if cell]
    step = _step(max(values, default=0.0))
    top = step * max(1, math.ceil(max(values, default=0.0) / step - 1e-9))
    groups = tuple(
        (
            row.measure.short,
            tuple(
                Bar(arm, k, _at(cell.value, top), number(row.measure, cell.value), _whisker(cell, top))
                for k, (arm, cell) in enumerate(row.cells.items())
                if cell is not None
            ),
        )
        for row in rows
    )
    ticks = tuple((_at(step * k, top), f"{100 * step * k:.3g}") for k in range(round(top / step) + 1))
    return Bars(groups, ticks)


def _step(largest: float) -> float:
    """A round distance of ticks that gives two to five of them."""
    return next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if largest <= 4 * step), 0.25)


def _at(value: float, top: float) -> float:
    return round(100 * max(0.0, value) / top, 2)


def _whisker(cell: Interval, top: float) -> Whisker | None:
    if cell.low is None or cell.high is None:
        return None
    return Whisker(_at(cell.low, top), _at(cell.high, top), _at(cell.value, top))


def _counts(cases: Sequence[CaseView]) -> dict[str, int]:
    return {
        "all": len(cases),
        "fixed": sum(case.fixed for case in cases),
        "broken": sum(case.broken for case in cases),
    }


_ROOM = 16_000_000
"""Characters of pictures on a page, so that all of it stays under 20 MB."""


class _Pictures:
    """Stores each distinct view once; cases refer to it by number."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int, int]] = []
        self._numbers: dict[str, int] = {}
        self._used = 0

    def fitting(self, cases: Sequence[CaseView]) -> Iterator[tuple[CaseView, list[int]]]:
        """The cases, each with the numbers of its pictures, as far as the page has room for pictures."""
        for case in cases:
            numbers = [self._store(picture.pixels) for picture in case.pictures]
            if self._used > _ROOM:
                return
            yield case, numbers

    def _store(self, pixels: Any) -> int:
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        if key not in self._numbers:
            self._numbers[key] = len(self.addresses)
            self.addresses.append((png_address(pixels), pixels.shape[1], pixels.shape[0]))
            self._used += len(self.addresses[-1][0])
        return self._numbers[key]
