"""Operators that cut: black patches and magnified crops, as published methods use them."""

import numpy as np
from scipy import ndimage

from medpo_cli.imaging.image import Array, Mask
from medpo_cli.imaging.operators.base import Settings, inside, placed
from medpo_cli.imaging.regions import box_of

CROP = (0.01, 0.2)
"""Share of the area that mDPO's crop keeps."""


def patch_black(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Blacken each patch of the picture's grid with probability ``share``: PAPO's mask, inside the region.

    It uses ``patch``, ``share`` and ``black``. A region that no chosen patch meets is blackened whole.
    """
    box = box_of(mask)
    columns, rows = (np.floor(np.arange(box[a].start, box[a].stop) / settings.patch).astype(int) for a in range(2))
    columns, rows = columns - columns[0], rows - rows[0]
    chosen = rng.random((columns[-1] + 1, rows[-1] + 1, box[2].stop - box[2].start)) < settings.share
    black = chosen[columns[:, None], rows[None]][mask[box]]
    values = inside(array, mask)
    values[black if black.any() else slice(None)] = settings.black
    return placed(array, mask, values)


def area_crop(array: Array, mask: Mask, rng: np.random.Generator, settings: Settings) -> Array:
    """Magnify a random crop of 1 to 20 % of the region's box over the region: mDPO's crop.

    On the whole image this is mDPO's operator; inside a lesion it keeps the lesion's own values.
    """
    box = box_of(mask)
    values = array[box].astype(np.float64)
    side = np.sqrt(rng.uniform(*CROP))
    places = []
    for length in values.shape[:2]:
        kept = side * (length - 1)
        places.append(rng.uniform(0, length - 1 - kept) + np.linspace(0, kept, length))
    grid = np.meshgrid(*places, indexing="ij")
    planes = values.reshape(*values.shape[:2], -1)
    shown = [ndimage.map_coordinates(planes[..., n], grid, order=1, mode="nearest") for n in range(planes.shape[2])]
    return placed(array, mask, np.stack(shown, axis=-1).reshape(values.shape)[mask[box]])
