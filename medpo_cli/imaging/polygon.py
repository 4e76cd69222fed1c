"""What a polygon encloses, exactly."""

from collections.abc import Sequence

import numpy as np

from medpo_cli.imaging.image import Mask


def inside_polygon(corners: Sequence[tuple[float, float]], height: int, width: int) -> Mask:
    """Pixels ``[height, width]`` whose centre lies in a polygon, by the even-odd rule.

    Exact scan lines: along a row of centres each edge that crosses it turns inside to outside from the crossing
    on. Edges hold their upper end and centres on a left border are inside, so polygons that share an edge share
    no pixel and leave none out.

    Args:
        corners: x (right) and y (down), 0 at the upper left corner of the picture; closed by itself.
        height: rows of the picture.
        width: columns of the picture.
    """
    inside = np.zeros((height, width), bool)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        first, last = np.searchsorted(rows, sorted((y0, y1)))
        # From the upper end always, so that an edge walked the other way crosses at the very same numbers.
        (top_x, top_y), (low_x, low_y) = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
        share = (rows[first:last] - top_y) / (low_y - top_y or 1.0)
        inside[first:last] ^= columns >= (top_x + share * (low_x - top_x))[:, None]
    return inside
