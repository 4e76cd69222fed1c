"""Shared prefixes against plain rows, on the user's own model and records, before training."""

from collections.abc import Sequence

import torch

from medpo_cli.errors import UnavailableError
from medpo_cli.io.context import Progress
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.batches import Example
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.layout import bundles, collate
from medpo_cli.training.scoring import logprobs, states

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest difference of a token's log-probability between forest and plain rows, nats."""


def choose_forest(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    features: FeatureCache,
    config: AlignConfig,
    progress: Progress,
) -> bool:
    """Whether prefixes are shared: if the family allows it, and the first records agree with plain rows.

    Raises:
        UnavailableError: ``engine`` is ``forest`` but the model does not allow it or the numbers differ.
    """
    if config.engine == "rows":
        return False
    problem = "" if vlm.forest else "no shared prefixes for this model family"
    if not problem:
        gap = difference(vlm, examples[: config.verify], features)
        if gap > TOLERANCE.get(vlm.dtype, TOLERANCE[torch.bfloat16]):
            problem = f"shared prefixes differ from plain rows by {gap:.1e} nats"
    if problem and config.engine == "forest":
        raise UnavailableError(f"{problem}: use --engine rows")
    if problem:
        progress.note(f"{problem}: plain rows are used (slower, same result)")
    return not problem


@torch.no_grad()
def difference(vlm: VisionLanguageModel, examples: Sequence[Example], features: FeatureCache) -> float:
    """Largest difference between forest and plain rows in any needed token's log-probability, nats."""
    largest = 0.0
    for unit in (unit for example in examples for unit in example.units):
        found = []
        for forest in (True, False):
            work = bundles([unit], forest=forest)
            layout = collate(work, forest=forest, device=vlm.device, family=vlm.family)
            scored = logprobs(vlm, layout, states(vlm, layout, features.get(layout.prompts)))
            found.append({name: (scored[index.pair], index.response) for name, index in layout.index.items()})
        for name, (shared, response) in found[0].items():
            gap = (shared - found[1][name][0])[response].abs()
            largest = max(largest, float(gap.max()) if gap.numel() else 0.0)
    return largest
