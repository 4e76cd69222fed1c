"""The regions of a record as areas of the picture that the model is shown."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case


def areas_of(case: Case, context: Context) -> list[NDArray[np.bool_]]:
    """For each region of the case bool [H, W] on its first picture.

    Raises:
        RecordError: an image or a mask cannot be used.
    """
    from medpo_cli.imaging.regions import region_mask
    from medpo_cli.imaging.window import checked_source, laid_out

    if not case.regions:
        return []
    ref = case.images[0]
    image = checked_source(ref, context, "$.image").image
    # A region shows wherever one of its voxels does, whatever is projected of the image.
    across: Literal["max"] | None = "max" if ref.projection else None
    areas = []
    for k, region in enumerate(case.regions):
        mask = region_mask(region, image, context, ref.frame, f"$.regions[{k}]")
        areas.append(
            laid_out(image, mask, lambda plane: plane, frame=ref.frame, montage=ref.montage, projection=across)
        )
    return areas
