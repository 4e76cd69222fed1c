"""The pictures of one record: intact, destroyed, control; with the outlines of its regions."""

import numpy as np
from numpy.typing import NDArray

from medpo_cli.evaluation.areas import areas_of
from medpo_cli.evaluation.page.draw import outline
from medpo_cli.evaluation.page.model import Outline, Picture
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case
from medpo_cli.text.lexicon import is_finding

View = NDArray[np.uint8]


def pictures_of(case: Case, context: Context, *, with_text: bool) -> tuple[Picture, ...]:
    """Views of a record's images; outlines lie on the first one and on its changed copies.

    Args:
        case: the record.
        context: for its files.
        with_text: its own words may be shown; else a region is called by the finding that it is, or by number.

    Raises:
        RecordError: an image or a mask cannot be used.
    """
    from medpo_cli.imaging.window import load_view

    borders = outlines_of(case, context, with_text=with_text)
    several = isinstance(case.image, list)
    views = [load_view(ref, context, f"$.image[{k}]" if several else "$.image") for k, ref in enumerate(case.images)]
    shown = [Picture(f"image {k + 1}" if k else "intact", view, () if k else borders) for k, view in enumerate(views)]
    if case.corrupted is not None:
        view = load_view(case.corrupted.image, context, "$.corrupted.image")
        note = case.corrupted.operator if case.corrupted.route == "lesion" else case.corrupted.route
        shown.append(Picture("lesion destroyed", view, borders, note))
    if case.control is not None:
        view = load_view(case.control.image, context, "$.control.image")
        area = Outline("changed", _changed(views[0], view), dashed=True)
        shown.append(Picture("control", view, (area,), case.control.route.removeprefix("control-")))
    return tuple(shown)


def outlines_of(case: Case, context: Context, *, with_text: bool) -> tuple[Outline, ...]:
    """The borders of a record's regions on the slices that are shown; arguments as in ``pictures_of``."""
    borders = []
    for k, (region, area) in enumerate(zip(case.regions or [], areas_of(case, context), strict=True)):
        label = region.label if with_text or is_finding(region.label) else f"region {k + 1}"
        label += " (the policy's own look)" if region.circular else ""
        borders.append(Outline(label, outline(area)))
    return tuple(borders)


def _changed(before: View, after: View) -> str:
    """The border of the area that differs; pixels inside it that happen to be equal belong to it."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    if before.shape != after.shape:
        return ""
    differs = (before != after).any(axis=2)
    closed = binary_closing(np.pad(differs, 2), iterations=2)[2:-2, 2:-2]
    return outline(binary_fill_holes(closed | differs))
