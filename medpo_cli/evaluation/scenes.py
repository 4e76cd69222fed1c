"""A grounded case laid out for looking: its pictures, its regions on them, and where the image tokens lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.alignment import Box, Flags, Floats
from medpo_cli.evaluation.areas import areas_of
from medpo_cli.evaluation.arms import View
from medpo_cli.evaluation.targets import Target
from medpo_cli.evaluation.vgmed import FORMS, Setting, setting
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.models.family import EncodedPrompt
    from medpo_cli.models.places import Places


@dataclass
class Scene:
    """What is the same for every arm.

    Attributes:
        case: a case with regions.
        views: its pictures, uint8 [H, W, 3].
        prompt: the question with them, encoded.
        targets: what is looked for.
        areas: for each target bool [H, W] on the first picture.
        placed: where the image tokens lie, or why that is not known.
        vgmed: both forms of VGMED's protocol, or why one cannot be measured; none for reports, which ask about
            everything and not about a region.
    """

    case: Case
    views: list[View]
    prompt: "EncodedPrompt"
    targets: Sequence[Target]
    areas: list[Flags]
    placed: "Places | RecordError"
    vgmed: dict[str, Setting | RecordError] = field(default_factory=dict)

    def tokens(self, number: int) -> tuple[Flags, Floats]:
        """Which image tokens show the first picture, bool [N], and their parts in a target's area, float [known].

        Raises:
            RecordError: ``attention-unplaced``, or ``region-unseen`` where no token shows the area.
        """
        if isinstance(self.placed, RecordError):
            raise self.placed
        share = self.placed.shares[number]
        if not share.any():
            raise RecordError("region-unseen", "no image token shows the region")
        return self.placed.known, share


def scene_of(case: Case, targets: Sequence[Target], context: Context, vlm: "VisionLanguageModel") -> Scene:
    """Load and lay out a case.

    Raises:
        RecordError: an image or a mask cannot be used.
    """
    from medpo_cli.imaging.window import load_view
    from medpo_cli.models.places import places

    regions = areas_of(case, context)
    areas = [np.asarray(np.logical_or.reduce([regions[k] for k in target.regions])) for target in targets]
    views = [load_view(ref, context) for ref in case.images]
    placed: Places | RecordError
    try:
        placed = places(vlm, case.prompt, views, areas)
    except RecordError as error:
        placed = error
    scene = Scene(case, views, vlm.encode_prompt(case.prompt, views), targets, areas, placed)
    for form in FORMS if case.task != "report" else ():
        try:
            scene.vgmed[form.name] = setting(vlm, form, case.prompt, views, boxes(case, targets[0], regions))
        except RecordError as error:
            scene.vgmed[form.name] = error
    return scene


def boxes(case: Case, target: Target, areas: Sequence[Flags]) -> list[Box]:
    """One box for each region of a target: its own, or the one around its area.

    Args:
        case: the record.
        target: which of its regions.
        areas: for each region of the record bool [H, W].
    """
    found = []
    for k in target.regions:
        rows, columns = np.flatnonzero(areas[k].any(1)), np.flatnonzero(areas[k].any(0))
        around = (float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0) if len(rows) else None
        if box := (case.regions or [])[k].box or around:
            found.append(box)
    return found


def cell_shares(area: Flags, side: int) -> tuple[Floats, Flags]:
    """Part of each of ``side * side`` cells of the picture that lies in the area, and which cells hold a pixel."""
    rows, columns = ((np.arange(size) + 0.5) / size * side for size in area.shape)
    place = rows.astype(int)[:, None] * side + columns.astype(int)
    count = np.bincount(place.ravel(), minlength=side * side)
    inside = np.bincount(place.ravel(), weights=area.ravel(), minlength=side * side)
    return np.asarray(inside / np.maximum(count, 1), np.float64), count > 0
