"""Pictures and truth as tensors, for training the demo model."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, ZONES, Lesions
from medpo_cli.demo.phantom import Phantom, phantom

PATCH, GRID = 16, 6
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # the stock CLIP image processor's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


@dataclass
class Pictures:
    """``grey`` uint8 [N, 96, 96], ``patches`` bool [N, 36, 5] (finding in patch), ``lesions`` per image."""

    grey: torch.Tensor
    patches: torch.Tensor
    lesions: list[Lesions]

    def __len__(self) -> int:
        return len(self.lesions)


def patch_labels(image: Phantom) -> np.ndarray:
    """Bool [36, 5]: whether a finding covers a fair part of a patch, or lies in it with a fair part of itself."""
    labels = np.zeros((GRID * GRID, len(FINDINGS)), bool)
    for column, finding in enumerate(FINDINGS):
        if finding in image.lesions:
            mask = image.mask(finding)
            count = mask.reshape(GRID, PATCH, GRID, PATCH).sum(axis=(1, 3)).reshape(-1)
            labels[:, column] = (count >= 40) | (count >= 0.3 * mask.sum())
    return labels


def _draw(indices: range, split: str, seed: int, confounded: bool) -> tuple[np.ndarray, np.ndarray, list[Lesions]]:
    images = [phantom(split, seed, index, confounded=confounded) for index in indices]
    grey = np.stack([image.picture for image in images])
    return grey, np.stack([patch_labels(image) for image in images]), [image.lesions for image in images]


def draw_pictures(split: str, seed: int, count: int, *, confounded: bool = False, workers: int = 1) -> Pictures:
    """The first ``count`` images of a split; the same for any number of workers."""
    chunks = [range(start, min(start + 250, count)) for start in range(0, count, 250)]
    draw = partial(_draw, split=split, seed=seed, confounded=confounded)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            parts = list(pool.map(draw, chunks))
    else:
        parts = [draw(chunk) for chunk in chunks]
    return Pictures(
        torch.from_numpy(np.concatenate([part[0] for part in parts])),
        torch.from_numpy(np.concatenate([part[1] for part in parts])),
        [lesions for part in parts for lesions in part[2]],
    )


def pixel_values(grey: torch.Tensor) -> torch.Tensor:
    """What the stock processor makes of grey pictures [N, 96, 96]: float32 [N, 3, 96, 96]."""
    unit = grey.float().unsqueeze(1) / 255
    return (unit - MEAN[:, None, None]) / STD[:, None, None]


def attribute_labels(lesions: Iterable[Lesions]) -> dict[str, torch.Tensor]:
    """Per attribute long [N, 5]: class index, -100 where the finding is absent or has no such attribute."""
    rows = list(lesions)
    labels = {}
    for name, classes in (("side", SIDES), ("zone", ZONES), ("size", SIZES)):
        index = {value: number for number, value in enumerate(classes)}
        labels[name] = torch.tensor(
            [[index.get(str(getattr(row.get(finding), name, None)), -100) for finding in FINDINGS] for row in rows]
        )
    labels["present"] = torch.tensor([[finding in row for finding in FINDINGS] for row in rows]).float()
    return labels
