"""Forward and backward of one optimizer step, on shared prefixes or on plain rows."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import ImageFeatures
from medpo_cli.schema import objectives as kinds
from medpo_cli.training.batches import Example, Unit
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.layout import Layout, bundles, collate, plan
from medpo_cli.training.memory import token_budget
from medpo_cli.training.metrics import Tally
from medpo_cli.training.objectives.evaluate import Batch, evaluate, leading, rewards
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.reference import Reference
from medpo_cli.training.scoring import Frozen, score, states


class Engine:
    """Runs units through policy and reference.

    Args:
        vlm: the model with its adapters.
        terms: the objective.
        features: the frozen image features.
        reference: the frozen policy.
        accelerator: backward and, on several processes, sums.
        forest: share prefixes; else plain rows.
        second: another frozen policy, where the objective has two references.
        auxiliary: trained head of the objective, if it has one.
        apart: forward every bundle alone, so that a row's numbers never depend on what else is in the batch.

    Attributes:
        budget: tokens of a micro-batch that is worth filling.
        room: tokens of a micro-batch that memory allows.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        terms: Sequence[kinds.Term],
        features: FeatureCache,
        reference: Reference,
        accelerator: Accelerator,
        *,
        forest: bool,
        second: Reference | None = None,
        auxiliary: nn.Module | None = None,
        apart: bool = False,
    ) -> None:
        self.vlm, self.terms, self.features, self.reference = vlm, tuple(terms), features, reference
        self.accelerator, self.forest = accelerator, forest
        self.second, self.auxiliary, self.apart = second, auxiliary, apart
        self.budget = token_budget(vlm)
        self.room = math.inf
        self.needs_reference = any(term.uses_reference for term in self.terms)
        self.leading = leading(self.terms)

    def layouts(self, units: Sequence[Unit]) -> list[Layout]:
        """The micro-batches of ``units``."""
        vlm = self.vlm
        # Pixels of several prompts need not fit together, as features do.
        alone = self.apart or not vlm.family.reuses_features
        work = plan(bundles(units, forest=self.forest, room=self.room), 0 if alone else self.budget)
        return [collate(group, forest=self.forest, device=vlm.device, family=vlm.family) for group in work]

    def accumulate(self, examples: Sequence[Example], share: float) -> Tally:
        """Add ``share`` times the summed loss of ``examples`` to the gradients.

        Each micro-batch is forwarded and backwarded alone: peak memory does not grow with the batch.
        """
        tally = Tally()
        for loss in self._losses(examples, tally):
            self.accelerator.backward(share * loss)
        return tally

    @torch.no_grad()
    def evaluate(self, examples: Sequence[Example]) -> Tally:
        """The sums of ``accumulate`` without gradients."""
        tally = Tally()
        for _ in self._losses(examples, tally):
            pass
        return tally

    def _losses(self, examples: Sequence[Example], tally: Tally) -> Iterator[Tensor]:
        """The summed loss of each micro-batch of ``examples``."""
        base = self._base(examples)
        for layout in self.layouts([unit for example in examples for unit in example.units]):
            batch = self._batch(layout)
            loss = self._loss(layout, batch, base, tally)
            tally.add_logps(batch)
            tally.add("loss", loss)
            tally.add("tokens", loss.new_tensor(layout.tokens))
            yield loss

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write what the references said to their folder when the block is left, however it is left."""
        try:
            yield
        finally:
            for reference in (self.reference, self.second):
                if reference is not None:
                    reference.store.flush()

    def _batch(self, layout: Layout) -> dict[str, Scored]:
        """One forward pass of every policy, by sequence name."""
        features = self.features.get(layout.prompts)
        references = self._references(layout, features)
        kept = states(self.vlm, layout, features)
        return score(self.vlm, layout, kept, *references, self.auxiliary)

    def recall(self, examples: Sequence[Example]) -> None:
        """Fill the references' memory as ``accumulate`` would, from the same micro-batches."""
        for layout in self.layouts([unit for example in examples for unit in example.units]):
            self._references(layout, self.features.get(layout.prompts))

    def _references(self, layout: Layout, features: Sequence[ImageFeatures]) -> tuple[Frozen | None, Frozen | None]:
        """What the first and the second reference say, each None where the objective has none."""
        first = self.reference.get(layout, features) if self.needs_reference else None
        return first, self.second.get(layout, features) if self.second else None

    def _loss(self, layout: Layout, batch: Batch, base: Tensor | None, tally: Tally) -> Tensor:
        """The weighted sum of all terms over the units of one micro-batch."""
        loss = torch.zeros((), device=self.vlm.device)
        for term in self.terms:
            units = [number for number, unit in enumerate(layout.units) if unit.names.issuperset(term.sequences)]
            if not units:
                continue
            mine = _of_units(batch, term.sequences, units, len(layout.units))
            values = evaluate(term, mine, base)
            weights = values.new_tensor([layout.units[unit].weight for unit in units])
            loss = loss + term.weight * (weights * values).sum()
            tally.add(term.key, values)
            if term is self.leading and (found := rewards(term, mine)):
                tally.add_rewards(*found)
        return loss

    def _base(self, examples: Sequence[Example]) -> Tensor | None:
        """KTO's z: mean log-ratio of answers to other questions over the batch, at least 0, no gradient."""
        if not any(isinstance(term, kinds.KTO) for term in self.terms):
            return None
        total = torch.zeros(2, dtype=torch.float64, device=self.vlm.device)
        with torch.no_grad():
            for layout in self.layouts([unit for example in examples for unit in example.mismatched]):
                for part in self._batch(layout).values():
                    there = part.fact("there").double()
                    total += torch.stack([(there * part.log_ratio("response")).sum(), there.sum()])
        ratio, count = self.accelerator.reduce(total, reduction="sum")
        return (ratio / count).clamp_min(0.0)  # type: ignore[no-any-return]


def _of_units(batch: Batch, names: Sequence[str], units: list[int], total: int) -> Batch:
    """The sequences ``names`` of these units only, so that their rows belong to the same records."""
    found = {}
    for name in names:
        part, owner = batch[name], batch[name].owner
        if len(units) < total and owner is not None and len(set(owner.tolist())) > len(units):
            part = part.take(torch.isin(owner, owner.new_tensor(units)).nonzero()[:, 0])
        found[name] = part
    return found
