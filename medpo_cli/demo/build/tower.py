"""Pre-training of the vision tower: findings per patch, and every attribute from the class token.

Captioning alone does not teach such a small tower where things are (demo-model page, section 2), hence
explicit labels; the heads are thrown away afterwards.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medpo_cli.demo.build.pictures import Pictures, attribute_labels, pixel_values
from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, ZONES

ATTRIBUTES = {"side": len(SIDES), "zone": len(ZONES), "size": len(SIZES)}


class Heads(nn.Module):
    """Linear read-outs: presence per patch; presence and attributes per image."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        count = len(FINDINGS)
        self.patches = nn.Linear(hidden, count)
        self.present = nn.Linear(hidden, count)
        self.attributes = nn.ModuleDict({name: nn.Linear(hidden, count * size) for name, size in ATTRIBUTES.items()})

    def read(self, name: str, token: torch.Tensor) -> torch.Tensor:
        """Logits [B, classes, 5] of an attribute."""
        logits: torch.Tensor = self.attributes[name](token)
        return logits.view(len(token), ATTRIBUTES[name], len(FINDINGS))


def tower_features(tower: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Last hidden states [B, 37, hidden], without the final norm: what the stock model passes on."""
    features: torch.Tensor = tower(pixels).last_hidden_state
    return features


def loss_of(
    heads: Heads, features: torch.Tensor, patches: torch.Tensor, labels: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Sum of the losses of all read-outs; ``features`` [B, 37, hidden]."""
    scaled = functional.layer_norm(features, features.shape[-1:])
    token = scaled[:, 0]
    loss = functional.binary_cross_entropy_with_logits(
        heads.patches(scaled[:, 1:]), patches.float(), pos_weight=torch.tensor(3.0)
    )
    loss = loss + functional.binary_cross_entropy_with_logits(heads.present(token), labels["present"])
    for name in ATTRIBUTES:
        loss = loss + 0.5 * functional.cross_entropy(heads.read(name, token), labels[name])
    return loss


def train_tower(tower: Any, data: Pictures, *, steps: int, batch: int, lr: float, seed: int, log: Any) -> Heads:
    """Train ``tower`` in place for a fixed number of steps; returns the read-outs for measuring."""
    torch.manual_seed(seed)
    heads = Heads(tower.config.hidden_size)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.03, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.08)
    labels = attribute_labels(data.lesions)
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    tower.train()
    for step in range(steps):
        if len(order) < batch:
            order = torch.randperm(len(data), generator=generator)
        rows, order = order[:batch], order[batch:]
        pixels = pixel_values(data.grey[rows])
        pixels = pixels + 0.04 * torch.randn(pixels.shape[0], 1, 96, 96, generator=generator)
        loss = loss_of(
            heads,
            tower_features(tower, pixels),
            data.patches[rows],
            {name: value[rows] for name, value in labels.items()},
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            log(f"tower step {step} loss {loss.item():.4f}")
    tower.eval()
    return heads


@torch.no_grad()
def all_features(tower: Any, data: Pictures, batch: int = 128) -> torch.Tensor:
    """Features of all pictures, float32 [N, 37, hidden]."""
    return torch.cat([tower_features(tower, pixel_values(part)) for part in torch.split(data.grey, batch)])


@torch.no_grad()
def measure_tower(tower: Any, heads: Heads, data: Pictures) -> dict[str, list[float]]:
    """Per finding: accuracy of presence, and of each attribute where the finding is present."""
    token = functional.layer_norm(all_features(tower, data)[:, 0], (tower.config.hidden_size,))
    labels = attribute_labels(data.lesions)
    present = (heads.present(token) > 0) == (labels["present"] > 0.5)
    result = {"present": present.float().mean(0).tolist()}
    for name in ATTRIBUTES:
        right = heads.read(name, token).argmax(1) == labels[name]
        known = labels[name] >= 0
        result[name] = [(right[:, i] & known[:, i]).sum().item() / max(int(known[:, i].sum()), 1) for i in range(5)]
    return result
