"""Curves of an alignment run for the page, from its step records."""

from collections.abc import Callable, Sequence

from medpo_cli.evaluation.page.model import Line, Lines
from medpo_cli.schema.records import Step
from medpo_cli.schema.steps import ACCURACY, LOGPS, LOSS, MARGIN


def training_curves(steps: Sequence[Step]) -> tuple[Lines, ...]:
    """Loss, reward margin, preference accuracy and the log-probabilities of both answers against the step.

    Args:
        steps: in the order of the run; a step that a resumed run wrote again counts once, the later one.
    """
    steps = list({step.step: step for step in steps}.values())
    if not steps:
        return ()
    charts = (
        Lines("Loss, nats", "step", _both(steps, LOSS, lambda step: step.loss)),
        Lines("Reward margin, nats", "step", _both(steps, MARGIN, lambda step: step.margin)),
        Lines(
            "Pairs ranked right",
            "step",
            _both(steps, ACCURACY, lambda step: step.accuracy),
            y_range=(0, 1),
        ),
        Lines(
            "Log-probability of the answers, nats",
            "step",
            tuple(
                _line(steps, name.partition("/")[2], place, lambda step, name=name: step.terms.get(name))  # type: ignore[misc]
                for place, name in ((1, LOGPS["+"]), (0, LOGPS["-"]))
            ),
        ),
    )
    drawn = (chart.without_empty() for chart in charts)
    return tuple(chart for chart in drawn if chart.lines)


def _both(steps: Sequence[Step], held_out: str, value: Callable[[Step], float]) -> tuple[Line, ...]:
    """A value of the training batches, and the same on the records held out where they were measured."""
    measured = _line(steps, "held out", 0, lambda step: step.terms.get(held_out), dots=True)
    return _line(steps, "training", 1, value), measured


def _line(
    steps: Sequence[Step], name: str, place: int, value: Callable[[Step], float | None], *, dots: bool = False
) -> Line:
    points = ((float(step.step), found) for step in steps if (found := value(step)) is not None)
    return Line(name, place, tuple(points), dots=dots)
