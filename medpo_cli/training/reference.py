"""The frozen reference policy: the same rows with adapters off, without gradient, computed once where kept."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import torch

from medpo_cli.io.files import short_hash
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import ImageFeatures
from medpo_cli.models.lora import reference as frozen_policy
from medpo_cli.training.layout import Layout
from medpo_cli.training.scoring import Frozen, frozen
from medpo_cli.training.store import RowStore

REFERENCE_BYTES = 1024 * 2**20


class Reference:
    """What a frozen policy says about forward passes.

    Args:
        vlm: the model with its adapters.
        limit: bytes of results kept in memory for later epochs; 0 keeps nothing.
        folder: where results also lie on disk, for other runs; None: nowhere.
        adapter: name of the adapter that speaks; empty: the policy that training began with.
        adapter_digest: of that adapter's files.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        limit: int,
        folder: Path | None = None,
        adapter: str = "",
        adapter_digest: str | None = None,
    ) -> None:
        self.vlm, self.adapter = vlm, adapter
        self.store = RowStore(limit, folder)
        speaker = adapter_digest or vlm.adapter_digest
        self.prefix = short_hash(vlm.digest, str(speaker), vlm.quantization, str(vlm.dtype), vlm.device.type)

    def with_memory(self, limit: int) -> "Reference":
        """The same policy with another, empty memory of ``limit`` bytes."""
        other = copy(self)
        other.store = RowStore(limit)
        return other

    def get(self, layout: Layout, features: Sequence[ImageFeatures]) -> Frozen:
        """Log-probabilities and states of one forward pass, from the store if every row is there."""
        if not self.store.used:
            return self._compute(layout, features)
        keys = [self.prefix + row.key for row in layout.rows]
        rows = [self.store.get(key) for key in keys]
        known = [row for row in rows if row is not None]
        if len(known) == len(rows):
            return Frozen(*(torch.cat(parts).to(layout.keep.device) for parts in zip(*known, strict=True)))
        fresh = self._compute(layout, features)
        readings = [row.reading for row in layout.rows]
        logprobs = torch.split(fresh.logprobs, [reading.pairs.shape[1] for reading in readings])
        states = torch.split(fresh.states, [len(reading.kl) for reading in readings])
        for key, *row in zip(keys, logprobs, states, strict=True):
            self.store.put(key, *row)
        return fresh

    def _compute(self, layout: Layout, features: Sequence[ImageFeatures]) -> Frozen:
        with frozen_policy(self.vlm, self.adapter):
            return frozen(self.vlm, layout, features)
