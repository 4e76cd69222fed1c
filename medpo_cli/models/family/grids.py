"""Which part of the image tensors each image token was made of: maps over pixels, averaged token by token.

Towers differ in what they mix, but all keep the order of the picture: a token stands where its patches stand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from medpo_cli.errors import RecordError


def unplaced() -> RecordError:
    """The image tokens cannot be laid on the picture."""
    return RecordError("attention-unplaced", "this model's image tokens cannot be laid on the picture")


def cells(tiles: Tensor, count: int, patch: int) -> Tensor:
    """Means over the tokens of square patches in reading order.

    Args:
        tiles: float ``[C, T, H, W]``, a map over the pixels of T tiles of one size.
        count: tokens of each tile; one more than a grid has is a class token, which stands first.
        patch: pixels a side of the tower's patches; rows of pixels that fill no patch are not seen.

    Returns:
        ``[C, T, count]``, NaN at class tokens.

    Raises:
        RecordError: ``attention-unplaced``, no grid has that many tokens.
    """
    height, width = (size // patch * patch for size in tiles.shape[-2:])
    shape = grid_of(count, height, width)
    if shape is None:
        raise unplaced()
    pooled = adaptive_avg_pool2d(tiles[..., :height, :width], shape).flatten(2)
    extra = count - shape[0] * shape[1]
    return torch.cat([pooled.new_full((*pooled.shape[:2], extra), torch.nan), pooled], dim=-1)


def grid_of(count: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of ``count`` tokens, or of all but one, as near to square cells as the sides allow."""
    for tokens in (count, count - 1):
        rows = round((tokens * height / width) ** 0.5)
        if rows > 0 and rows * round(rows * width / height) == tokens:
            return rows, tokens // rows
    return None


def merged(patches: Tensor, merge: int) -> Tensor:
    """Means ``[C, tokens]`` over flattened patches ``[C, P, K]`` of which ``merge`` in a row become one token."""
    channels, count = patches.shape[:2]
    if count % merge:
        raise unplaced()
    return patches.reshape(channels, count // merge, -1).mean(-1)


def corner(tiles: Tensor, sizes: Sequence[tuple[int, int]], side: int) -> Tensor:
    """Means ``[C, tokens]`` over cells of ``side`` pixels of pictures ``[C, N, H, W]`` padded right and below.

    Args:
        tiles: a map over the pixels.
        sizes: height and width of each picture without its padding.
        side: pixels a side of a token.
    """
    found = []
    for number, (height, width) in enumerate(sizes):
        rows, columns = height // side, width // side
        whole = tiles[:, number : number + 1, : rows * side, : columns * side]
        found.append(adaptive_avg_pool2d(whole, (rows, columns)).flatten(1))
    return torch.cat(found, dim=1)
