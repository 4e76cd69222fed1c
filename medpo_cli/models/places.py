"""Where image tokens lie on the picture: the processor is shown areas of it as black and white pictures.

So whatever it does (resizing, cropping, padding, tiles, merging) needs not to be known twice.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt
from medpo_cli.models.family.grids import unplaced

Area = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """The tokens of the first picture of a prompt.

    Attributes:
        known: bool [N] over all image tokens of the prompt: those that show a part of the first picture.
        shares: float64 [areas, known tokens], which part of each token lies in each area.
        grid: rows and columns, where the whole picture and nothing else is laid out on one grid.
    """

    known: npt.NDArray[np.bool_]
    shares: Floats
    grid: tuple[int, int] | None


def places(vlm: VisionLanguageModel, prompt: str, images: Sequence[np.ndarray], areas: Sequence[Area]) -> Places:
    """Where the image tokens of a question lie with respect to areas of its first picture.

    Args:
        vlm: the model.
        prompt: the question.
        images: uint8 [H, W, 3] each.
        areas: bool [H, W] of the first one.

    Raises:
        RecordError: ``attention-unplaced`` where the family does not know.
    """
    height, width = images[0].shape[:2]
    across = np.round((np.arange(width) + 0.5) / width * 255)[None].repeat(height, 0)
    down = np.round((np.arange(height) + 0.5) / height * 255)[:, None].repeat(width, 1)
    shown = [np.zeros((height, width)), np.full((height, width), 255), across, down, *(area * 255 for area in areas)]
    encoded = [vlm.encode_prompt(prompt, [_grey(one), *images[1:]]) for one in shown]
    black, white, *others = (_one_colour(one) for one in encoded)
    reach = (white - black).abs()
    known = reach > 0.5 * reach.max()
    levels = [((other - black) / torch.where(known, white - black, 1)).clamp(0, 1) for other in others]
    inside = [(level > 0.5) & known for level in levels[2:]]
    maps = torch.stack([known.float(), *(level * known for level in levels[:2]), *(area.float() for area in inside)])
    means = vlm.family.pooled(encoded[0], maps).double().numpy()
    seen = np.nan_to_num(means[0]) > 0
    if not seen.any() or len(seen) != int(encoded[0].image_positions.sum()):
        raise unplaced()
    means = means[:, seen] / means[0, seen]
    whole = vlm.family.grid(encoded[0])
    return Places(seen, means[3:], whole if whole and _fills(means[1], means[2], whole) else None)


def _fills(x: Floats, y: Floats, grid: tuple[int, int]) -> bool:
    """Whether tokens with centres x, y (0 to 1) lie on the picture as an even grid of it: nothing was cut off."""
    rows, columns = grid
    if len(x) != rows * columns:
        return False
    wanted_y, wanted_x = np.divmod(np.arange(len(x)), columns)
    off = np.maximum(
        np.abs(x - (wanted_x + 0.5) / columns) - 0.1 / columns, np.abs(y - (wanted_y + 0.5) / rows) - 0.1 / rows
    )
    return bool((off < 1 / 255).all())


def _grey(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def _one_colour(prompt: EncodedPrompt) -> Tensor:
    """``pixel_values`` without the axis of colours: the first of [..., 3, H, W], or of flattened patches [N, 3 K]."""
    pixels = prompt.vision.get("pixel_values")
    if pixels is None or not pixels.is_floating_point():
        raise unplaced()
    if pixels.ndim >= 4 and pixels.shape[-3] == 3:
        return pixels[..., 0, :, :].double()
    if pixels.ndim == 2 and pixels.shape[1] % 3 == 0:
        return pixels.reshape(len(pixels), 3, -1)[:, 0].double()
    raise unplaced()


@contextlib.contextmanager
def pixel_budget(vlm: VisionLanguageModel, least: int | None, most: int) -> Iterator[None]:
    """While it lasts, pictures of any size are scaled to at least ``least`` (None: as is) and at most ``most`` pixels.

    Only processors that have such bounds (those of Qwen-VL) change; others fix the size themselves.
    """
    processor = vlm.processor.image_processor
    before: Any = getattr(processor, "size", None)
    names = dict(before) if vlm.family.name == "qwen_vl" and before is not None else {}
    if not names.keys() >= {"shortest_edge", "longest_edge"}:
        yield
        return
    bounds = {"shortest_edge": names["shortest_edge"] if least is None else least, "longest_edge": most}
    processor.size = bounds if isinstance(before, dict) else type(before)(**bounds)
    try:
        yield
    finally:
        processor.size = before
