"""What can go wrong while training, told from the step records alone."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, variance

from medpo_cli.errors import ConfigError, UnavailableError
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.objectives import Rank, Term
from medpo_cli.schema.records import Step
from medpo_cli.training.batches import Example
from medpo_cli.training.objectives.evaluate import leading

USUAL, WARM_UP = 50, 10
"""Steps whose gradient norms are the usual ones, and how many there must be."""
ROUNDING = 0.05
"""Largest reward before the first step that kernels of a GPU may round to; anything beyond is another policy."""
WINDOW = 20
"""Steps on each side of a comparison of rewards."""
CHOSEN_FALLS = (
    "the chosen reward falls while the margin grows: chosen answers become less likely, too; "
    "raise alpha or nll, or lower lr (said once)"
)


def check_step(
    norm: float, loss: float, history: Sequence[Step], batch: Sequence[Example], config: AlignConfig
) -> None:
    """Stop before a step that would ruin the adapter.

    Args:
        norm: of the gradient, before clipping.
        loss: of the step.
        history: the records of all steps before.
        batch: the step's records, named in the error.
        config: ``max_grad_growth`` is the limit.

    Raises:
        ConfigError: loss or gradient is not finite, or the gradient has exploded.
    """
    growth = norm / usual_norm(history, config.max_grad_norm)
    if not math.isfinite(norm + loss):
        problem = "training diverged"
    elif config.max_grad_growth and growth > config.max_grad_growth:
        problem = f"the gradient exploded (norm {norm:.4g}, {growth:.4g} times the usual)"
    else:
        return
    ids = ", ".join(example.id for example in batch)
    raise ConfigError(f"{problem} at step {len(history) + 1} (records {ids}): lower lr; state before it kept")


def check_start(means: Mapping[str, float], terms: Sequence[Term], config: AlignConfig) -> str:
    """Before the first step the policy is its reference: both rewards must be exactly 0.

    Args:
        means: of the first step.
        terms: the objective.
        config: LoRA dropout on an adapter that training continues makes the two differ.

    Returns:
        A note where they differ by no more than rounding, else an empty text.

    Raises:
        UnavailableError: they differ by more: what is trained against is not where training begins.
    """
    first = leading(terms)
    plain = isinstance(first, Rank) and (not first.reference or first.references == 2)
    if first is None or plain or (config.adapter and config.lora_dropout):
        return ""
    gap = max(abs(means["chosen"]), abs(means["rejected"]))
    if gap > ROUNDING:
        raise UnavailableError(
            f"policy and reference differ before the first step (reward {gap:.2g} instead of 0): "
            "the reference cache or the adapter belongs to another model"
        )
    return f"policy and reference differ by {gap:.1e} (rewards) before the first step, instead of 0" if gap else ""


def usual_norm(history: Sequence[Step], floor: float) -> float:
    """The median gradient norm of the last steps, at least ``floor``; infinity while there are too few.

    The floor is the clipping norm. Once most pairs are learned their gradients vanish, and a pair that is not yet
    learned has one that is a thousand times larger and still harmless.
    """
    norms = [record.grad_norm for record in history[-USUAL:]]
    return max(median(norms), floor) if len(norms) >= WARM_UP else math.inf


def chosen_falls(history: Sequence[Step]) -> bool:
    """Whether the chosen reward fell while the margin grew, by more than noise, over the last steps.

    The last 20 steps are compared with the 20 before; a difference counts from twice its standard error.
    """
    if len(history) < 2 * WINDOW or "chosen" not in history[-1].rewards:
        return False
    recent = history[-2 * WINDOW :]
    return (
        _rise([record.rewards["chosen"] for record in recent]) < -2.0
        and _rise([record.margin for record in recent]) > 2.0
    )


def _rise(values: Sequence[float]) -> float:
    """Mean of the second half minus mean of the first, in standard errors of that difference."""
    before, after = values[:WINDOW], values[WINDOW:]
    error = math.sqrt((variance(before) + variance(after)) / WINDOW)
    return (fmean(after) - fmean(before)) / error if error else 0.0
