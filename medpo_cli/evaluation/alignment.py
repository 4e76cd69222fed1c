"""How well a map over image tokens agrees with a region: energy, pointing game, and VGMED's three numbers.

VGMED (arXiv 2603.14323) in its two published codes: A is the map of a question over that of a general prompt,
M the tokens that the boxes touch. AR = sum A M / (sum A / N * |M|), 1 for an even map; KL = sum M' ln(M' / A') and
JS = (KL(M' | R) + KL(A' | R)) / 2 with R = (M' + A') / 2, where A' and M' add up to 1; nats.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]

SMALLEST = 1e-12
"""Both codes keep logarithms finite by this."""
DIVISOR = 1e-8
"""Attention of the general prompt is at least this (as in FiRe-MPO's; the other one would divide by 0)."""


def energy(maps: Floats, shares: Floats) -> Floats:
    """Energy in mask: the part of each map that lies in the region.

    Args:
        maps: at least 0, ``[..., N]``.
        shares: part of each token that lies in the region, ``[N]``; their mean is what an even map gives.

    Returns:
        ``[...]``, NaN for a map of nothing.
    """
    total = maps.sum(-1)
    return _over((maps * shares).sum(-1), total)


def pointing(maps: Floats, touched: Flags) -> Floats:
    """Pointing game: whether the highest value of each map is at a token that touches the region.

    Several equally high ones count by their share, so that an even map gives the share of tokens touched: chance.

    Args:
        maps: ``[..., N]``.
        touched: ``[N]``.

    Returns:
        0 to 1, ``[...]``; NaN for a map of nothing.
    """
    highest = maps == maps.max(-1, keepdims=True)
    hits = (highest & touched).sum(-1) / highest.sum(-1)
    return np.where(maps.sum(-1) > 0, hits, np.nan)


def relative(question: Floats, general: Floats) -> Floats:
    """VGMED's A: attention under the question over that under the general prompt, token by token."""
    return np.asarray(question / np.maximum(general, DIVISOR), np.float64)


def attention_ratio(maps: Floats, cover: Flags) -> Floats:
    """VGMED's AR of maps ``[..., N]`` with the cover ``[N]``; NaN for a map of nothing."""
    return np.asarray(energy(maps, cover.astype(np.float64)) / cover.mean(), np.float64)


def kl_divergence(maps: Floats, cover: Flags) -> Floats:
    """VGMED's KL in nats: of the even distribution over the cover from the map. ``ln(N / |M|)`` for an even map."""
    logs = np.log(np.maximum(_distribution(maps), SMALLEST))
    return np.asarray(-math.log(cover.sum()) - logs[..., cover].mean(-1), np.float64)


def js_divergence(maps: Floats, cover: Flags) -> Floats:
    """VGMED's JS in nats, between 0 and ln 2."""
    ours, wanted = _distribution(maps), cover / cover.sum()
    middle = (ours + wanted) / 2
    return np.asarray((_kl(wanted, middle) + _kl(ours, middle)) / 2, np.float64)


def _distribution(maps: Floats) -> Floats:
    return _over(maps, maps.sum(-1, keepdims=True))


def _over(part: Floats, total: Floats) -> Floats:
    """The quotient; NaN where the total is 0."""
    return np.asarray(part / np.where(total > 0, total, np.nan), np.float64)


def _kl(p: Floats, q: Floats) -> Floats:
    logs = np.log(np.maximum(p, SMALLEST)) - np.log(np.maximum(q, SMALLEST))
    return np.asarray((p * logs).sum(-1), np.float64)


def box_cover(boxes: Sequence[Box], picture: tuple[int, int], grid: tuple[int, int]) -> Flags:
    """VGMED's M: tokens that boxes touch, by floor and ceiling, on a grid over the whole picture.

    Args:
        boxes: ``[x0, y0, x1, y1]`` in pixels of the picture.
        picture: its height and width.
        grid: rows and columns of tokens.

    Returns:
        bool ``[rows * columns]`` in reading order.
    """
    (height, width), (rows, columns) = picture, grid
    cover = np.zeros(grid, bool)
    for x0, y0, x1, y1 in boxes:
        across = slice(max(math.floor(x0 * columns / width), 0), max(math.ceil(x1 * columns / width), 0))
        down = slice(max(math.floor(y0 * rows / height), 0), max(math.ceil(y1 * rows / height), 0))
        cover[down, across] = True
    return cover.ravel()
