"""Train the CT model's vision tower: where the nodules are, and what each half holds (maintainers only).

The tower is stock ``SegformerModel`` without reshaping its last stage: overlapping convolutional patch
embeddings and depth-wise convolutions in the feed-forward blocks, so that it learns small objects where a
plain ViT of this size does not, and its last hidden state is a sequence that LLaVA takes as it is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medpo_cli.demo.build.ct_pictures import CELL, Pictures

MEAN, STD = 0.4, 0.25


@dataclass(frozen=True)
class Schedule:
    """Fixed numbers of steps, so that training repeats exactly."""

    steps: int
    batch: int = 32
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    seed: int = 0


class Heads(nn.Module):
    """Training-only read-outs: a 4 x 4 nodule map a token, and three answers a half from the mean token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cells = nn.Linear(width, (16 // CELL) ** 2)
        self.answers = nn.Linear(width, 6)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map logits [B, 24, 24] and answer logits [B, 2, 3] of tokens [B, 36, width]."""
        batch = len(tokens)
        maps = self.cells(tokens).view(batch, 6, 6, 4, 4).transpose(2, 3).reshape(batch, 24, 24)
        return maps, self.answers(tokens.mean(dim=1)).view(batch, 2, 3)


def pixels(grey: np.ndarray) -> Tensor:
    """The processor's arithmetic on uint8 [B, 96, 96]: float [B, 3, 96, 96]."""
    values = (torch.from_numpy(grey).float() / 255 - MEAN) / STD
    return values[:, None].expand(-1, 3, -1, -1)


def flipped(grey: np.ndarray, truth: np.ndarray, cells: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """The batch mirrored left-right and/or up-down, with answers and maps to match."""
    if rng.random() < 0.5:
        grey, cells, truth = grey[:, :, ::-1], cells[:, :, ::-1], truth[:, ::-1]
    if rng.random() < 0.5:
        grey, cells, truth = grey[:, ::-1], cells[:, ::-1], truth.copy()
        truth[..., 2] = truth[..., 0] - truth[..., 2]
    return grey.copy(), truth.copy(), cells.copy()


def tower_loss(maps: Tensor, answers: Tensor, truth: Tensor, cells: Tensor) -> Tensor:
    """Map loss (weighted to nodules) plus presence of each half, plus size and part where there is one."""
    target = (cells / CELL**2).clamp(0, 1)
    maps_loss = functional.binary_cross_entropy_with_logits(maps, target, weight=1 + 4 * target)
    present = truth[..., 0]
    each = functional.binary_cross_entropy_with_logits(answers, truth, reduction="none")
    attributes = (each[..., 1:].sum(-1) * present).sum() / present.sum().clamp(min=1)
    return 2 * maps_loss + each[..., 0].mean() + 0.5 * attributes


def train_tower(tower: Any, width: int, data: Pictures, schedule: Schedule, note: Any = print) -> Heads:
    """Train ``tower`` in place; returns its training heads."""
    torch.manual_seed(schedule.seed)
    rng = np.random.default_rng(schedule.seed)
    heads = Heads(width)
    parameters = [*tower.parameters(), *heads.parameters()]
    decayed = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.lr, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.lr, schedule.steps, pct_start=schedule.warmup, cycle_momentum=False
    )
    tower.train()
    running = 0.0
    for step in range(schedule.steps):
        rows = rng.integers(len(data.grey), size=schedule.batch)
        grey, truth, cells = flipped(data.grey[rows], data.truth[rows], data.cells[rows], rng)
        tokens = tower(pixels(grey), output_hidden_states=True).hidden_states[-1]
        maps, answers = heads(tokens)
        loss = tower_loss(maps, answers, torch.from_numpy(truth).float(), torch.from_numpy(cells).float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate.step()
        running = 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 250 == 0:
            note(f"tower step {step + 1}/{schedule.steps} loss {running / (1 - 0.98 ** (step + 1)):.4f}")
    tower.eval()
    return heads.eval()


@torch.no_grad()
def features(tower: Any, grey: np.ndarray, batch: int = 64) -> Tensor:
    """Frozen tokens float32 [n, 36, width] of pictures uint8 [n, 96, 96]."""
    parts = [
        tower(pixels(grey[start : start + batch]), output_hidden_states=True).hidden_states[-1]
        for start in range(0, len(grey), batch)
    ]
    return torch.cat(parts)


@torch.no_grad()
def tower_scores(tower: Any, heads: Heads, data: Pictures) -> dict[str, float]:
    """Share of right answers of the training heads: presence, size, part, and all three of a half."""
    said = (heads(features(tower, data.grey))[1] > 0).numpy()
    right = said == (data.truth > 0)
    here = data.truth[..., 0] > 0
    whole = np.where(here, right.all(axis=-1), right[..., 0])
    size, part = right[here][:, 1].mean(), right[here][:, 2].mean()
    return {"presence": right[..., 0].mean(), "size": size, "part": part, "statement": whole.mean()}
