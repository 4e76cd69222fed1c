"""Choosing the next token: greedy, or by temperature and nucleus with one random stream for each answer.

An answer's stream depends on its own seed only, so that it comes out the same whatever else is in the batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from medpo_cli.schema.records import Decoding


class Chooser:
    """Picks one token a row from logits.

    Args:
        decoding: temperature (0: greedy) and top_p.
        seeds: one for each row.
    """

    def __init__(self, decoding: Decoding, seeds: Sequence[int]) -> None:
        self.decoding = decoding
        self.streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> tuple[list[int], list[float]]:
        """The next token of each row, and its log-probability.

        Args:
            logits: [B, V] in any type.
            rows: which seeds the B rows have.

        Returns:
            Token ids, and log-probabilities in nats at temperature 1 over the whole vocabulary (float32).
        """
        scores = logits.float()
        chosen = scores.argmax(-1) if self.decoding.temperature == 0 else self._drawn(scores, rows)
        logprobs = scores.gather(1, chosen[:, None])[:, 0] - scores.logsumexp(-1)
        return chosen.tolist(), logprobs.tolist()

    def _drawn(self, scores: Tensor, rows: Sequence[int]) -> Tensor:
        """Inverse transform sampling in float64 over the tokens sorted by probability, cut at ``top_p``."""
        uniform = torch.stack([torch.rand(1, generator=self.streams[row], dtype=torch.float64) for row in rows])
        probabilities, order = (
            (scores.double() / self.decoding.temperature).softmax(-1).sort(descending=True, stable=True)
        )
        total = probabilities.cumsum(-1)
        inside = (total - probabilities) < self.decoding.top_p
        mass = torch.where(inside, total, 0).amax(-1, keepdim=True)
        place = torch.searchsorted(total, uniform.to(scores.device) * mass, right=True)
        return order.gather(1, place.clamp(max=inside.sum(-1, keepdim=True) - 1))[:, 0]
