"""Curves of an alignment run for the page, from its step records."""

from collections.abc import Callable, Sequence

from medpo_cli.evaluation.page.model import Line, Lines
from medpo_cli.schema.records import Step

_HELD_OUT = {"loss": "held-out/loss", "margin": "held-out/margin", "accuracy": "held-out/accuracy"}


def training_curves(steps: Sequence[Step]) -> tuple[Lines, ...]:
    """Loss, reward margin, preference accuracy and the log-probabilities of both answers against the step.

    Args:
        steps: in the order of the run; a step that a resumed run wrote again counts once, the later one.
    """
    steps = list({step.step: step for step in steps}.values())
    if not steps:
        return ()
    charts = (
        Lines("Loss, nats", "step", _both(steps, "loss", lambda step: step.loss)),
        Lines("Reward margin, nats", "step", _both(steps, "margin", lambda step: step.margin)),
        Lines(
            "Pairs ranked right",
            "step",
            _both(steps, "accuracy", lambda step: step.accuracy),
            y_range=(0, 1),
        ),
        Lines(
            "Log-probability of the answers, nats",
            "step",
            tuple(
                _line(steps, side, place, lambda step, side=side: step.terms.get(f"logps/{side}"))  # type: ignore[misc]
                for place, side in ((1, "chosen"), (0, "rejected"))
            ),
        ),
    )
    drawn = (chart.without_empty() for chart in charts)
    return tuple(chart for chart in drawn if chart.lines)


def _both(steps: Sequence[Step], name: str, value: Callable[[Step], float]) -> tuple[Line, ...]:
    """A value of the training batches, and the same on the records held out where they were measured."""
    held_out = _line(steps, "held out", 0, lambda step: step.terms.get(_HELD_OUT[name]), dots=True)
    return _line(steps, "training", 1, value), held_out


def _line(
    steps: Sequence[Step], name: str, place: int, value: Callable[[Step], float | None], *, dots: bool = False
) -> Line:
    points = ((float(step.step), found) for step in steps if (found := value(step)) is not None)
    return Line(name, place, tuple(points), dots=dots)
