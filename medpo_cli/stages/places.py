"""Where the truth lies on the picture, and the reward of an answer that says where (``--reward box-iou``)."""

from collections.abc import Callable, Sequence

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Region, Sample
from medpo_cli.text.boxes import Box, Corners, Unit, box_reward, boxes
from medpo_cli.text.facts import named
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import nfc


def box_scorer(sample: Sample, unit: Unit, lexicon: Lexicon, context: Context) -> Callable[[str], float]:
    """The reward, 0 to 1, of an answer to a sample.

    The truth is what the reference names; else the sample's regions (of a mask its bounding box), and of
    these only those labelled with a finding that the prompt asks for, if there are such.

    Args:
        sample: its image is opened only for a mask, or where the boxes of answer and truth count differently.
        unit: what boxes without a tag count, in answers and reference; regions are in pixels.
        lexicon: names of findings in prompt and labels.
        context: gives the root.

    Raises:
        RecordError: ``no-boxes`` if there is no true box, what reading the image or a mask refuses.
    """
    truth = boxes(nfc(sample.reference or ""), unit) or _of_regions(sample, lexicon, context)
    if not truth:
        raise RecordError("no-boxes", "neither the reference nor a region says where", "$.regions")

    def score(answer: str) -> float:
        said = boxes(answer, unit)
        if len({box.unit for box in (*said, *truth)}) == 1:
            return box_reward([box.corners for box in said], [box.corners for box in truth])
        size = _size(sample, context) if said else (1, 1)
        return box_reward(_shares(said, size), _shares(truth, size))

    return score


def _shares(found: Sequence[Box], size: tuple[int, int]) -> list[Corners]:
    return [box.shares(size) for box in found]


def _of_regions(sample: Sample, lexicon: Lexicon, context: Context) -> list[Box]:
    regions = list(enumerate(sample.regions or []))
    asked = set(named(sample.prompt, lexicon))
    meant = [(n, region) for n, region in regions if asked & set(named(region.label.replace("_", " "), lexicon))]
    return [
        Box(region.box or _around(region, f"$.regions[{number}]", sample, context), "pixels")
        for number, region in meant or regions
    ]


def _around(region: Region, field: str, sample: Sample, context: Context) -> Corners:
    """Bounding box of a mask on the displayed picture, pixel edges."""
    import numpy as np

    from medpo_cli.imaging.geometry import to_picture
    from medpo_cli.imaging.regions import region_mask
    from medpo_cli.imaging.window import checked_source, frame_of

    first = sample.images[0]
    image = checked_source(first, context, "$.image").image
    mask = region_mask(region, image, context, first.frame, field)
    picture = to_picture(mask[:, :, frame_of(image, first.frame)], image.affine)
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    if not rows.size:
        raise RecordError("mask-empty", "the region has no voxel on the picture", field)
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _size(sample: Sample, context: Context) -> tuple[int, int]:
    """Width and height of the displayed picture in pixels."""
    from medpo_cli.imaging.window import load_view

    height, width = load_view(sample.images[0], context).shape[:2]
    return width, height
