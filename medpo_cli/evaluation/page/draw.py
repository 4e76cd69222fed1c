"""Pictures for the page: PNG data addresses and outlines as vector paths."""

import base64
import io

import numpy as np
from numpy.typing import NDArray


def png_address(pixels: NDArray[np.uint8]) -> str:
    """A ``data:`` address of a view uint8 [H, W, 3]; grey views are stored with one channel."""
    from PIL import Image

    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def outline(mask: NDArray[np.bool_]) -> str:
    """The border between inside and outside as an SVG path.

    Args:
        mask: bool [H, W].

    Returns:
        Straight moves along pixel edges in coordinates of the pixel grid: the pixel in row y and
        column x covers [x, x + 1] by [y, y + 1]. Empty for an empty mask.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    across = np.diff(padded, axis=0)[:, 1:-1] != 0  # [H + 1, W]: edge above pixel row y
    along = np.diff(padded, axis=1)[1:-1, :] != 0  # [H, W + 1]: edge left of pixel column x
    moves = [f"M{x} {y}h{length}" for y, x, length in _runs(across)]
    moves += [f"M{x} {y}v{length}" for x, y, length in _runs(along.T)]
    return "".join(moves)


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(row, first column, length) of each horizontal run of True in [R, C]."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return [(int(row), int(a), int(b - a)) for row, a, b in zip(rows, starts, ends, strict=True)]
