"""Pictures read once for checking and once more for training, unless they still are in memory."""

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.schema.records import ImageRef

VIEW_BYTES = 512 * 2**20


class Views:
    """The uint8 pictures of image references, least recently used dropped first.

    Args:
        context: gives the root.
        limit: bytes kept; the newest picture always stays.
    """

    def __init__(self, context: Context, limit: int = VIEW_BYTES) -> None:
        self.context, self.limit, self.size = context, limit, 0
        self._kept: OrderedDict[ImageRef, npt.NDArray[np.uint8]] = OrderedDict()

    def __call__(self, ref: ImageRef, field: str) -> npt.NDArray[np.uint8]:
        """Picture ``[H, W, 3]`` of ``ref``.

        Raises:
            RecordError: as ``load_view``, naming ``field``.
        """
        if ref in self._kept:
            self._kept.move_to_end(ref)
            return self._kept[ref]
        picture = load_view(ref, self.context, field)
        self._kept[ref] = picture
        self.size += picture.nbytes
        while self.size > self.limit and len(self._kept) > 1:
            self.size -= self._kept.popitem(last=False)[1].nbytes
        return picture
