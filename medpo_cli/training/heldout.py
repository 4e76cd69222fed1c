"""Pairs that training never sees: which they are, what is measured on them, which step was best."""

import hashlib
import math
from collections.abc import Sequence

import msgspec

from medpo_cli.errors import BadInputError, ConfigError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Case, Step
from medpo_cli.schema.steps import ACCURACY, LOSS, MARGIN
from medpo_cli.training.batches import Example
from medpo_cli.training.engine import Engine
from medpo_cli.training.metrics import Tally, names_of


def choose(records: Sequence[Case], share: float, seed: int) -> set[int]:
    """Which records to hold out: whole groups, as near below ``share`` of all records as they allow.

    A group is what ``group`` names (a patient, a study); a record without one belongs to its first image. Groups
    are taken in an order that depends on their names and ``seed`` alone.

    Args:
        records: all of the run.
        share: 0 to 0.5; 0 holds out nothing.
        seed: of the run.

    Returns:
        Positions in ``records``.

    Raises:
        BadInputError: all records are of one group.
    """
    if not share:
        return set()
    groups: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        groups.setdefault(record.group or f"image:{record.images[0].path}", []).append(number)
    if len(groups) == 1:
        raise BadInputError("held_out: all pairs are of one group (patient or image): none would be left to train on")
    order = sorted(groups, key=lambda name: hashlib.blake2b(f"{seed}:{name}".encode()).digest())
    chosen: set[int] = set()
    for name in order:
        if len(chosen) + len(groups[name]) <= round(share * len(records)):
            chosen.update(groups[name])
    return chosen or set(groups[min(order, key=lambda name: len(groups[name]))])


def divide(examples: Sequence[Example], chosen: set[int]) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and those of the ``chosen`` records, which are held out.

    Raises:
        BadInputError: all usable ones are on one side.
    """
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        sides[example.units[0].number in chosen].append(example)
    if chosen and not all(sides):
        raise BadInputError("held_out: no usable pair is left to " + ("measure on" if sides[0] else "train on"))
    return sides


class HeldOut:
    """Measures loss, preference accuracy and margin on held-out pairs, without gradients and dropout.

    Args:
        engine: with a reference memory of its own, so that training's stays a function of the step.
        examples: the held-out pairs; without any nothing is ever due.
        config: how often, and pairs measured at a time.
        per_epoch: steps of an epoch.
        total: steps of the run.
    """

    def __init__(
        self, engine: Engine, examples: Sequence[Example], config: AlignConfig, per_epoch: int, total: int
    ) -> None:
        self.engine, self.examples, self.total = engine, examples, total
        self.every, self.batch = config.held_out_every or per_epoch, config.batch

    def due(self, step: int) -> bool:
        """Whether to measure after ``step`` steps: every so many, and at the end."""
        return bool(self.examples) and (step % self.every == 0 or step == self.total)

    def added_to(self, record: Step) -> Step:
        """``record`` with what the model of that step does on the held-out pairs, among its terms.

        Raises:
            ConfigError: the loss is not finite.
        """
        means = self._means()
        if not math.isfinite(means["loss"]):
            raise ConfigError(f"training diverged: the held-out loss is not finite after step {record.step}: lower lr")
        found = {LOSS: means["loss"], ACCURACY: means["accuracy"], MARGIN: means["chosen"] - means["rejected"]}
        return msgspec.structs.replace(record, terms=record.terms | found)

    def _means(self) -> dict[str, float]:
        accelerator, tally = self.engine.accelerator, Tally()
        set_dropout(self.engine.vlm, on=False)
        try:
            for start in range(0, len(self.examples), self.batch):
                # Every process evaluates as often as the others, perhaps nothing: some objectives sum over all.
                batch = self.examples[start : start + self.batch]
                tally.merge(self.engine.evaluate(batch[accelerator.process_index :: accelerator.num_processes]))
        finally:
            set_dropout(self.engine.vlm, on=True)
        return tally.means(len(self.examples), accelerator, names_of(self.engine.terms))


def set_dropout(vlm: VisionLanguageModel, *, on: bool) -> None:
    """Train or eval mode for the dropout of the trained adapter only: the frozen model stays as it answers."""
    for name, module in vlm.model.named_modules():
        if name.endswith("lora_dropout.default"):  # not that of a frozen reference
            module.train(on)


def best_step(history: Sequence[Step]) -> int:
    """The step with the least held-out loss, the first of equals; 0 before the first measurement."""
    measured = [record for record in history if LOSS in record.terms]
    return min(measured, key=lambda record: record.terms[LOSS]).step if measured else 0


def measurements_since_best(history: Sequence[Step]) -> int:
    """How many measurements came after the best one."""
    best = best_step(history)
    return sum(LOSS in record.terms and record.step > best for record in history)
