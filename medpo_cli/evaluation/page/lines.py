"""Line charts of the page: from values to coordinates of an SVG picture, without a drawing library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medpo_cli.evaluation.page.model import Line, Lines

WIDTH, HEIGHT = 400, 170
"""Size of the plotting area in units of the picture."""

_POINTS = 240  # more would not be seen at this width


@dataclass(frozen=True)
class Path:
    """One drawn line: its name, its place among the colours, the SVG path, whether points are marked."""

    name: str
    place: int
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """A chart ready to be drawn: paths and ticks (place, text) in picture units, y downwards."""

    title: str
    x_label: str
    paths: tuple[Path, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    diagonal: str


def plot(lines: Lines) -> Plot:
    """Lay out a chart; axes reach to round numbers around all values, or over ``lines.x_range``/``y_range``."""
    across = [x for line in lines.lines for x, _ in line.points]
    whole = lines.x_range is None and len(set(across)) > 1 and all(x == round(x) for x in across)  # steps, layers
    x_marks = _ticks(*(lines.x_range or _reach(across)), least=1.0 if whole else 0.0)
    y_marks = _ticks(*(lines.y_range or _reach([y for line in lines.lines for _, y in line.points])))

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return _place(point[0], x_marks, WIDTH), round(HEIGHT - _place(point[1], y_marks, HEIGHT), 1)

    low, high = max(x_marks[0], y_marks[0]), min(x_marks[-1], y_marks[-1])
    return Plot(
        title=lines.title,
        x_label=lines.x_label,
        paths=tuple(_path(line, [at(point) for point in thinned(line.points)]) for line in lines.lines),
        x_ticks=tuple((_place(mark, x_marks, WIDTH), _text(mark, x_marks)) for mark in x_marks),
        y_ticks=tuple((round(HEIGHT - _place(mark, y_marks, HEIGHT), 1), _text(mark, y_marks)) for mark in y_marks),
        diagonal=_moves([at((low, low)), at((high, high))]) if lines.diagonal else "",
    )


def thinned(points: Sequence[tuple[float, float]], most: int = _POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points: means of equal runs of neighbours, so that no outlier is chosen or lost by chance."""
    run = math.ceil(len(points) / most) or 1
    parts = [points[k : k + run] for k in range(0, len(points), run)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _path(line: Line, places: Sequence[tuple[float, float]]) -> Path:
    return Path(line.name, line.place, _moves(places), tuple(places) if line.dots else ())


def _moves(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""


def _reach(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        half = abs(low) / 2 or 0.5
        return low - half, high + half
    return low, high


def _ticks(low: float, high: float, least: float = 0.0) -> list[float]:
    """Round numbers at equal distances, ``least`` or more, that enclose both ends: at most seven of them."""
    raw = max((high - low) / 4, least)
    power = 10.0 ** math.floor(math.log10(raw))
    factors = (1, 2, 5, 10) if least else (1, 2, 2.5, 5, 10)
    step = next(factor * power for factor in factors if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, last + 1)]


def _text(mark: float, marks: Sequence[float]) -> str:
    """Enough digits to tell the ticks apart, and no more."""
    step = marks[1] - marks[0]
    digits = next(d for d in range(13) if abs(round(step, d) - step) < 1e-6 * step)
    return f"{mark:.{digits}f}".replace("-", "\u2212") if round(mark, digits) else "0"


def _place(value: float, marks: Sequence[float], size: int) -> float:
    return round(size * (value - marks[0]) / (marks[-1] - marks[0]), 1)
