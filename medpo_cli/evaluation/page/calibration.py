"""Charts of calibration for the page, from the curves that summaries carry."""

from collections.abc import Mapping, Sequence

from medpo_cli.evaluation.page.model import Line, Lines
from medpo_cli.schema.records import Summary

_Columns = Mapping[str, Sequence[float]]


def calibration(summaries: Sequence[Summary]) -> tuple[Lines, ...]:
    """Reliability of p(yes), and risk over coverage, each with one line per arm."""
    arms = [summary for summary in summaries if summary.against is None]
    reliability = Lines(
        "Share of yes in truth",
        "probability of yes that the model states",
        _per_arm(arms, "closed.reliability", "predicted", "observed", dots=True),
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
    )
    risk = Lines(
        "Wrong among the answers kept",
        "share of questions answered, surest first",
        _per_arm(arms, "closed.risk_coverage", "coverage", "risk"),
        x_range=(0, 1),
    )
    return tuple(chart for chart in (reliability.without_empty(), risk.without_empty()) if chart.lines)


def _per_arm(arms: Sequence[Summary], name: str, x: str, y: str, *, dots: bool = False) -> tuple[Line, ...]:
    lines = []
    for place, arm in enumerate(arms[:2]):
        columns: _Columns = (arm.curves or {}).get(name, {})
        points = tuple(zip(columns.get(x, ()), columns.get(y, ()), strict=True))
        # A chart of one arm has the colour of the aligned one, like the bars.
        lines.append(Line(str(arm.arm), place if len(arms) > 1 else 1, points, dots=dots))
    return tuple(lines)
