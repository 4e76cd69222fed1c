"""The result table as plain text, as wide as the terminal allows."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from medpo_cli.evaluation.headline import MARKS, Row, headline, number, probability, sections, shortcuts, unit, verdict
from medpo_cli.evaluation.metric_measures import DEFINED
from medpo_cli.schema.records import Summary

SPARED = ("fixed/broken", "p", "n")
"""Columns that a narrow terminal does without, the first one first."""
SHORTEST_LABEL = 28
GAP = "  "


def table(summaries: Sequence[Summary], *, extra: Sequence[str] | None = None, width: int | None = None) -> str:
    """The result table in plain text: measure, each arm, difference with interval, p, fixed/broken.

    Args:
        summaries: of one evaluation or comparison.
        extra: further measures; the default are the strongest shortcuts.
        width: columns of the terminal, None for as many as it takes. Where the table is wider it does without
            ``SPARED`` and breaks labels.
    """
    rows = headline(summaries, extra=shortcuts(summaries) if extra is None else extra)
    if not rows:
        return ""
    grid, spared = _grid(summaries, rows).fitted(width)
    out = grid.lines()
    if any(row.changes for row in rows):
        out.append("+ better, ! worse, ~ changed, = not told apart (95 % interval of the difference holds 0)")
    changes = [one.metrics for one in summaries if one.against is not None]
    if declared := sum(cell.p_holm is not None for one in changes[:1] for cell in one.values()):
        out.append(f"* adjusted for the {declared} measures that were declared (Holm)")
    if seeds := {name: count for name, count in map(_seeds, summaries) if count > 1}:
        counted = ", ".join(f"{name} {count}" for name, count in seeds.items())
        out.append(f"mean over training seeds ({counted}); intervals cover seeds and items")
    out += [f"{name.removeprefix(DEFINED)}: {told}" for name, told in _definitions(summaries).items()]
    if spared:
        out.append(f"a wider terminal also shows {', '.join(reversed(spared))}")
    return "\n".join(line for text in out for line in _folded(text, width))


def _definitions(summaries: Sequence[Summary]) -> dict[str, str]:
    """What measures of reports are by, or why there is none."""
    return {name: told for one in summaries for name, told in one.versions.items() if name.startswith(DEFINED)}


@dataclass(frozen=True)
class _Grid:
    """Cells of the table: the names of its columns, and under each heading the lines of its measures."""

    head: list[str]
    parts: list[tuple[str, list[list[str]]]]
    label: int | None = None

    def fitted(self, width: int | None) -> tuple["_Grid", list[str]]:
        """The grid with what fits into ``width``, and the names of the columns that it does without."""
        grid, spared = self, list[str]()
        for name in SPARED:
            if width is None or grid.width <= width:
                break
            if name in grid.head:
                grid, spared = grid.without(grid.head.index(name)), [*spared, name]
        if width is not None and grid.width > width:
            left = width - (grid.width - grid.widths[0])
            grid = _Grid(grid.head, grid.parts, max(SHORTEST_LABEL, left))
        return grid, spared

    def without(self, column: int) -> "_Grid":
        """The grid without a column."""

        def cut(line: list[str]) -> list[str]:
            return line[:column] + line[column + 1 :]

        return _Grid(cut(self.head), [(title, [cut(line) for line in own]) for title, own in self.parts])

    @property
    def widths(self) -> list[int]:
        """Of the columns."""
        every = [self.head, *(line for _, own in self.parts for line in own)]
        found = [max(len(line[k]) for line in every) for k in range(len(self.head))]
        return found if self.label is None else [self.label, *found[1:]]

    @property
    def width(self) -> int:
        """Of the whole."""
        return sum(self.widths) + len(GAP) * (len(self.head) - 1)

    def lines(self) -> list[str]:
        """The table."""
        out = self._line(self.head)
        for title, own in self.parts:
            out += [title, *(text for line in own for text in self._line(line))]
        return out

    def _line(self, line: list[str]) -> list[str]:
        first, widths = line[0].strip(), self.widths
        indent = line[0][: len(line[0]) - len(first)]
        labels = textwrap.wrap(first, widths[0], initial_indent=indent, subsequent_indent=indent + "  ")
        # The values stand beside the last line of a broken label, where the eye arrives.
        *before, last = labels or [""]
        cells = [last.ljust(widths[0])]
        cells += [_pad(cell, widths[k], left=k == 1) for k, cell in enumerate(line[1:], start=1)]
        return [*before, GAP.join(cells).rstrip()]


def _grid(summaries: Sequence[Summary], rows: Sequence[Row]) -> _Grid:
    arms = list(rows[0].cells)
    compared = len(arms) == 2 and any(row.change for row in rows)
    change = ["difference [95 %]", "p", "fixed/broken", ""] if compared else []
    head = [f"profile {summaries[0].profile}", "", "n", *arms, *change]
    return _Grid(head, [(title, [_cells(row, compared) for row in own]) for title, own in sections(rows)])


def _folded(text: str, width: int | None) -> list[str]:
    """A line of the table as it is, a note in several."""
    return [text] if width is None or len(text) <= width else textwrap.wrap(text, width)


def _seeds(summary: Summary) -> tuple[str, int]:
    """An arm and how many runs it stands for."""
    return str(summary.arm), max((len(cell.seeds or ()) for cell in summary.metrics.values()), default=0)


def _cells(row: Row, compared: bool) -> list[str]:
    counted = next(cell.n for cell in row.cells.values() if cell)
    values = [_cell(row, arm, marked=not compared) for arm in row.cells]
    line = [f"  {row.measure.label}", unit(row.measure), str(counted), *values]
    if not compared:
        return line
    if row.change is None:
        return [*line, "", "", "", ""]
    change = row.change
    ends = f"[{number(row.measure, change.low, sign=True)}, {number(row.measure, change.high, sign=True)}]" if (
        change.low is not None and change.high is not None
    ) else ""  # fmt: skip
    both = f"{change.fixed}/{change.broken}" if change.fixed is not None else ""
    shown = f"{number(row.measure, change.value, sign=True)} {ends}"
    p = probability(change.p) if change.p_holm is None else f"{probability(change.p_holm)}*"
    return [*line, shown, p, both, MARKS[row.verdict]]


def _cell(row: Row, arm: str, *, marked: bool) -> str:
    """A value; among several arms with the mark of its difference against the first."""
    cell = row.cells[arm]
    if cell is None:
        return ""
    mark = f" {MARKS[verdict(row.measure, row.changes.get(arm))]}" if marked and row.changes else ""
    return number(row.measure, cell.value) + mark


def _pad(text: str, width: int, *, left: bool) -> str:
    return text.ljust(width) if left else text.rjust(width)
