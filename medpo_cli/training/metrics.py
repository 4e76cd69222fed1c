"""What a step record says: sums over the step's records, turned into means once."""

import resource
import time
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import Step
from medpo_cli.schema.steps import LOGPS
from medpo_cli.training.objectives.evaluate import leading
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.objectives.terms import masked_sum


class Tally:
    """Sums by name over the micro-batches of one optimizer step, left on the device until read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add all of ``values`` to the sum ``name``."""
        value = values.detach().double().sum()
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def add_rewards(self, chosen: Tensor, rejected: Tensor, right: Tensor) -> None:
        """Rewards of both answers of each record, nats times beta, and whether they are in order, ``[B]``."""
        self.add("chosen", chosen)
        self.add("rejected", rejected)
        self.add("accuracy", right)

    def add_logps(self, batch: dict[str, Scored]) -> None:
        """Summed log-probabilities of the needed tokens of both answers, nats."""
        for sequence, name in LOGPS.items():
            if sequence in batch:
                self.add(name, masked_sum(batch[sequence].policy, batch[sequence].response))

    def merge(self, other: "Tally") -> None:
        """Add all sums of ``other``."""
        for name, value in other.sums.items():
            self.add(name, value)

    def means(self, records: int, accelerator: Accelerator, names: Sequence[str]) -> dict[str, float]:
        """Every sum of all processes divided by ``records``; 0 for a name that nothing was added to."""
        zero = torch.zeros((), dtype=torch.float64, device=accelerator.device)
        packed = torch.stack([self.sums.get(name, zero).to(zero.device) for name in names])
        total: list[float] = accelerator.reduce(packed, reduction="sum").tolist()
        return {name: value / records for name, value in zip(names, total, strict=True)}


def names_of(terms: Sequence[Term]) -> list[str]:
    """Every sum that a step has under ``terms``."""
    return ["loss", "tokens", "chosen", "rejected", "accuracy", *(term.key for term in terms), *_logps_of(terms)]


def _logps_of(terms: Sequence[Term]) -> list[str]:
    read = {sequence for term in terms for sequence in term.sequences}
    return [name for sequence, name in LOGPS.items() if sequence in read]


def step_record(
    means: dict[str, float],
    terms: Sequence[Term],
    *,
    records: int,
    step: int,
    epoch: float,
    grad_norm: float,
    lr: float,
    began: float,
) -> Step:
    """The record of one finished step.

    Args:
        means: of the names in ``names_of(terms)``, by record.
        terms: the objective.
        records: how many the step had.
        step: its number from 1.
        epoch: passes over the data when it was done.
        grad_norm: before clipping.
        lr: used in it.
        began: ``time.perf_counter()`` at its start.
    """
    return Step(
        step=step,
        epoch=epoch,
        loss=means["loss"],
        terms={name: means[name] for name in [*(term.key for term in terms), *_logps_of(terms)]},
        rewards={"chosen": means["chosen"], "rejected": means["rejected"]} if leading(terms) else {},
        margin=means["chosen"] - means["rejected"],
        accuracy=means["accuracy"],
        grad_norm=grad_norm,
        lr=lr,
        tokens=round(means["tokens"] * records),
        seconds=time.perf_counter() - began,
        peak_bytes=peak_bytes(),
    )


def peak_bytes() -> int:
    """Most memory held so far: of the GPU's tensors, or of the process without a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
