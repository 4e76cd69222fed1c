"""The course of a run as one picture, drawn from its step records."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medpo_cli.errors import MedpoError
from medpo_cli.io.context import Progress
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.records import Step
from medpo_cli.schema.steps import ACCURACY, LOGPS, LOSS, MARGIN
from medpo_cli.training.heldout import best_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours: told apart also by colour-blind readers.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C8C8C"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9")
OWN_PANEL = {*LOGPS.values(), LOSS, ACCURACY, MARGIN}


def write_curves(path: Path, history: Sequence[Step], progress: Progress) -> None:
    """Draw ``history`` into the PNG ``path``; a picture that cannot be drawn is said, and costs the run nothing."""
    if not history:
        return
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports its font cache as a warning
    try:
        write_atomic(path, draw(history))
    except (ImportError, OSError, MedpoError) as error:
        progress.warn(f"{path.name} was not drawn ({type(error).__name__})")
    else:
        progress.note(f"curves in {path.name}")


def draw(history: Sequence[Step]) -> bytes:
    """A PNG of six panels: loss, terms, rewards, accuracy, log-probabilities, gradient norm with learning rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).flat
    for panel, fill in zip(panels, (_loss, _terms, _rewards, _accuracy, _logps, _gradient), strict=True):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.92", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8, color="0.6")
        panel.set_xlabel("step", fontsize=8)
        panel.xaxis.get_major_locator().set_params(integer=True)
        fill(panel, history)
        if LOSS in history[-1].terms:
            label = "least held-out loss" if fill is _loss else None
            panel.axvline(best_step(history), color="0.3", linewidth=1, linestyle=":", label=label)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, edgecolor="none", framealpha=0.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _loss(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Loss", "nats")
    _line(panel, history, [record.loss for record in history], BLUE, "training")
    _points(panel, history, LOSS)


def _terms(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Terms of the loss, unweighted", "nats")
    names = [name for name in history[-1].terms if name not in OWN_PANEL]
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        _line(panel, history, [record.terms[name] for record in history], colour, name)


def _rewards(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Rewards", "beta x log-ratio, nats")
    for side, colour in (("chosen", BLUE), ("rejected", ORANGE)):
        if side in history[-1].rewards:
            _line(panel, history, [record.rewards[side] for record in history], colour, side)
    _line(panel, history, [record.margin for record in history], GREEN, "margin")
    _points(panel, history, MARGIN, "margin, held out")


def _accuracy(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Preference accuracy", "share of pairs")
    _line(panel, history, [record.accuracy for record in history], BLUE, "training")
    _points(panel, history, ACCURACY)
    panel.set_ylim(-0.03, 1.03)


def _logps(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Log-probability of the answers' tokens", "nats")
    for name, colour in zip(LOGPS.values(), (BLUE, ORANGE), strict=True):
        if name in history[-1].terms:
            label = name.partition("/")[2]
            _line(panel, history, [record.terms[name] for record in history], colour, label)


def _gradient(panel: "Axes", history: Sequence[Step]) -> None:
    _title(panel, "Gradient norm before clipping", "")
    _line(panel, history, [record.grad_norm for record in history], BLUE)
    if all(record.grad_norm > 0 for record in history):
        panel.set_yscale("log")
    rate = panel.twinx()
    rate.spines[["top", "left", "right"]].set_visible(False)
    rate.tick_params(labelsize=8, color="0.6", labelcolor=GREY)
    rate.set_ylabel("learning rate", fontsize=8, color=GREY)
    rate.plot([record.step for record in history], [record.lr for record in history], color=GREY, linewidth=1.0)
    rate.set_ylim(bottom=0)


def _title(panel: "Axes", title: str, unit: str) -> None:
    panel.set_title(title, loc="left", fontsize=10, fontweight="bold")
    panel.set_ylabel(unit, fontsize=8)


def _line(
    panel: "Axes", history: Sequence[Step], values: Sequence[float], colour: str, label: str | None = None
) -> None:
    """Every step in pale, and on it the mean of the neighbouring ones, a 15th of the run."""
    steps = [record.step for record in history]
    half = len(values) // 30
    near = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    marker = "o" if len(values) == 1 else ""
    if half:
        panel.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
    panel.plot(steps, [sum(part) / len(part) for part in near], color=colour, linewidth=1.6, label=label, marker=marker)


def _points(panel: "Axes", history: Sequence[Step], name: str, label: str = "held out") -> None:
    """The measurements on held-out pairs."""
    found = [(record.step, record.terms[name]) for record in history if name in record.terms]
    if found:
        steps, values = zip(*found, strict=True)
        panel.plot(
            steps,
            values,
            color=PURPLE,
            marker="o",
            markersize=5,
            markeredgecolor="white",
            linewidth=1,
            label=label,
        )
