"""How much memory a run needs, part by part.

Counted are tensors. What a GPU driver takes for itself, and holes between tensors, come on top.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from medpo_cli.models.anatomy import Anatomy
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.config import AlignConfig

CPU_BYTES = 128 * 2**20
SAFETY = 0.9
"""Share of a device's free memory that a run may plan with: holes between tensors take the rest."""
GPU_TOKENS = 8192
"""Tokens of a micro-batch on a GPU: more would only take memory."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a run at its highest point, by what holds them.

    Attributes:
        weights: of the frozen model.
        adapters: that the model computes with, those of frozen references included (taken to be as large).
        masters: float32 originals of bfloat16 adapters.
        gradients: of the masters.
        optimizer: first and second moments.
        features: kept image features.
        activations: kept by the layers for the backward pass; with gradient checkpointing their inputs and one layer.
        logits: logits and log-probabilities with their gradients.
        workspace: gradients inside one layer.
    """

    weights: int
    adapters: int
    masters: int
    gradients: int
    optimizer: int
    features: int
    activations: int = 0
    logits: int = 0
    workspace: int = 0

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return sum(getattr(self, part.name) for part in fields(self))

    def lines(self) -> list[str]:
        """One line for each part, and their sum."""
        parts = [(part.name, getattr(self, part.name)) for part in fields(self)]
        return [f"{name:<12}{size(count):>12}" for name, count in [*parts, ("peak", self.total)]]


def size(count: int) -> str:
    """Bytes for people: MiB below one GiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def token_budget(vlm: VisionLanguageModel) -> int:
    """Tokens of one forward pass whose activations fit: many rows of a tiny model, one of a large one.

    A decoder layer keeps about 30 activations per token and hidden unit for its backward pass (measured on
    a Qwen3-VL-4B layer: 148 KiB at hidden size 2560 in bfloat16). ``fit`` knows better, after one forward pass.
    """
    text = vlm.base.config.get_text_config()
    per_token = text.num_hidden_layers * 30 * text.hidden_size * vlm.dtype.itemsize
    if vlm.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(vlm.device)
        return min(GPU_TOKENS, int(free * 0.5 / per_token))
    return int(CPU_BYTES / per_token)


def standing(body: Anatomy, config: AlignConfig, images: int) -> Memory:
    """What is there all the time.

    Args:
        body: sizes of the model.
        config: rank, optimizer, adapters that are references.
        images: bytes of the kept image features.
    """
    tensors = [count * config.rank for sizes in body.linears for count in sizes]
    elements = sum(tensors)
    rounded = body.dtype == torch.bfloat16
    full = 8 if body.dtype == torch.float64 else 4
    return Memory(
        weights=body.weights,
        adapters=elements * body.dtype.itemsize * (1 + bool(config.adapter) + bool(config.reference_adapter)),
        masters=elements * full if rounded else 0,
        gradients=elements * full,
        optimizer=_moments(tensors, config.optimizer, full),
        features=images,
    )


def _moments(tensors: Sequence[int], kind: str, full: int) -> int:
    """Two moments an element; in 8 bit a scale for each 256, and small tensors as they are."""
    if kind == "adamw":
        return 2 * full * sum(tensors)
    return sum(2 * (n + 4 * -(-n // 256)) if n >= 4096 else 8 * n for n in tensors)


def image_bytes(body: Anatomy, tokens: int) -> int:
    """Bytes of the features of ``tokens`` image tokens."""
    return tokens * body.hidden * body.dtype.itemsize * body.levels


def limit_of(vlm: VisionLanguageModel, config: AlignConfig, own: int) -> int:
    """Bytes a run may use: ``max_memory``, else what is free on the device beside its ``own`` tensors."""
    if config.max_memory:
        return int(config.max_memory * 2**30)
    free = torch.cuda.mem_get_info(vlm.device)[0] if vlm.device.type == "cuda" else free_memory()
    return int(free * SAFETY) + own


def free_memory() -> int:
    """Bytes of main memory that a process can still get; where Linux does not tell, all there are."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
