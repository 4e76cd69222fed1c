"""Forward and backward of one optimizer step, on shared prefixes or on plain rows."""

from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from medpo_cli.errors import UnavailableError
from medpo_cli.io.context import Progress
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.batches import Example, Unit
from medpo_cli.training.layout import Layout, bundles, collate, plan
from medpo_cli.training.metrics import Tally
from medpo_cli.training.objectives.methods import Scored, Term, evaluate
from medpo_cli.training.reference import FeatureCache, Reference
from medpo_cli.training.scoring import forward, scored

CPU_BYTES = 128 * 2**20
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest difference of a token's log-probability between forest and plain rows, nats."""


class Engine:
    """Runs units through policy and reference.

    Args:
        vlm: the model with its adapters.
        terms: the objective.
        features: the frozen image features.
        reference: the frozen policy.
        accelerator: backward and, on several processes, sums.
        forest: share prefixes; else plain rows.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        terms: Sequence[Term],
        features: FeatureCache,
        reference: Reference,
        accelerator: Accelerator,
        *,
        forest: bool,
    ) -> None:
        self.vlm, self.terms, self.features, self.reference = vlm, tuple(terms), features, reference
        self.accelerator, self.forest = accelerator, forest
        self.budget = token_budget(vlm)

    def layouts(self, units: Sequence[Unit]) -> list[Layout]:
        """The micro-batches of ``units``."""
        work = plan(bundles(units, forest=self.forest), self.budget)
        return [collate(group, forest=self.forest, device=self.vlm.device) for group in work]

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
        for layout in self.layouts([unit for example in examples for unit in example.units]):
            features = self.features.get(layout.prompts)
            reference = self.reference.get(layout, features)
            policy = forward(self.vlm, layout, features, self.terms)
            batch = {
                name: scored(index, policy[name], reference[name] if reference else None)
                for name, index in layout.index.items()
            }
            loss = self._loss(layout, batch, tally)
            tally.add_logps(batch)
            tally.add("loss", loss)
            tally.add("tokens", loss.new_tensor(layout.tokens))
            yield loss

    def _loss(self, layout: Layout, batch: dict[str, Scored], tally: Tally) -> Tensor:
        """The weighted sum of all terms over the units of one micro-batch."""
        loss = torch.zeros((), device=self.vlm.device)
        for term in self.terms:
            index = layout.index.get(term.sequences[0])
            if index is None:
                continue
            values = evaluate(term, batch)
            weights = values.new_tensor([layout.units[unit].weight for unit in index.units])
            loss = loss + term.weight * (weights * values).sum()
            tally.add(term.name, values)
            if term.name == "rank":
                better, worse = (term.beta * batch[name].log_ratio(term.scope) for name in term.sequences)
                tally.add_rewards(better, worse)
        return loss


def token_budget(vlm: VisionLanguageModel) -> int:
    """Tokens of one forward pass whose activations fit: many rows of a tiny model, one of a large one.

    A decoder layer keeps about 30 activations per token and hidden unit for its backward pass (measured on
    a Qwen3-VL-4B layer: 148 KiB at hidden size 2560 in bfloat16).
    """
    text = vlm.base.config.get_text_config()
    per_token = text.num_hidden_layers * 30 * text.hidden_size * vlm.dtype.itemsize
    if vlm.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(vlm.device)
        return int(free * 0.5 / per_token)
    return int(CPU_BYTES / per_token)


def choose_forest(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    terms: Sequence[Term],
    features: FeatureCache,
    config: AlignConfig,
    progress: Progress,
) -> bool:
    """Whether prefixes are shared: if the family allows it, and the first pairs agree with plain rows.

    Raises:
        UnavailableError: ``engine`` is ``forest`` but the model does not allow it or the numbers differ.
    """
    if config.engine == "rows":
        return False
    problem = "" if vlm.forest else "no shared prefixes for this model family"
    if not problem:
        gap = difference(vlm, examples[: config.verify], terms, features)
        if gap > TOLERANCE.get(vlm.dtype, TOLERANCE[torch.bfloat16]):
            problem = f"shared prefixes differ from plain rows by {gap:.1e} nats"
    if problem and config.engine == "forest":
        raise UnavailableError(f"{problem}: use --engine rows")
    if problem:
        progress.note(f"{problem}: plain rows are used (slower, same result)")
    return not problem


@torch.no_grad()
def difference(
    vlm: VisionLanguageModel, examples: Sequence[Example], terms: Sequence[Term], features: FeatureCache
) -> float:
    """Largest difference between forest and plain rows in any needed token's log-probability, nats."""
    largest = 0.0
    for example in examples:
        for unit in example.units:
            results = []
            for forest in (True, False):
                layout = collate(bundles([unit], forest=forest), forest=forest, device=vlm.device)
                results.append((layout, forward(vlm, layout, features.get(layout.prompts), terms)))
            (layout, shared), (_, plain) = results
            for name, index in layout.index.items():
                gap = (shared[name].tokens - plain[name].tokens)[index.response].abs()
                largest = max(largest, float(gap.max()) if gap.numel() else 0.0)
    return largest
