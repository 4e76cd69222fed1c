"""Whether a record's proof holds, from the files alone: source, masks and the corrupted image."""

import math
from collections.abc import Iterator

import msgspec
import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging import proof
from medpo_cli.imaging.geometry import side_axis
from medpo_cli.imaging.image import Image, Mask
from medpo_cli.imaging.regions import grown, region_hash
from medpo_cli.imaging.sight import Sight
from medpo_cli.schema.records import Corrupted, RegionProof

TOLERANCE = 1e-5
"""Relative difference of measured numbers that other versions of numpy may make."""


def region_of(made: Corrupted, finding: Mask, lesions: Mask, image: Image) -> Mask | None:
    """The region that ``made`` says it destroyed; None for a control that does not lie in the image.

    Args:
        made: a corrupted image or its control.
        finding: the marked regions that the record is about.
        lesions: all that the record marks; growing spared the others.
        image: the source.
    """
    if made.route.startswith("fallback"):
        return np.ones(image.shape, bool)
    region = grown(finding, int(made.parameters.get("grow", 0)), lesions)
    if not made.route.startswith("control"):
        return region
    box = made.region.box
    if box is None or not region.any():
        return None
    places = np.array(np.nonzero(region))
    axis = side_axis(image)
    if made.route == "control-mirror" and axis >= 0:
        places[axis] *= -1
    places += (np.array(box[:3]) - places.min(axis=1))[:, None]
    if (places < 0).any() or (places >= np.array(image.shape)[:, None]).any():
        return None
    moved = np.zeros_like(region)
    moved[tuple(places)] = True
    return moved


def matching(made: Corrupted, findings: list[Mask], lesions: Mask, image: Image) -> tuple[Mask, Mask]:
    """The region that ``made`` destroyed and the finding it belongs to: those whose hash is the claimed one.

    Args:
        made: a corrupted image or its control.
        findings: what a record may have been about when it was corrupted, likeliest first; not empty.
        lesions: all that the record marks.
        image: the source.

    Raises:
        RecordError: ``proof-region``: none fits.
    """
    for finding in findings:
        region = region_of(made, finding, lesions, image)
        if region is not None and region_hash(region) == made.region.mask:
            return region, finding
    raise RecordError("proof-region", "the region is not one that the record's masks mark", ".region.mask")


def problems(source: Image, result: Image, made: Corrupted, region: Mask, finding: Mask) -> Iterator[RecordError]:
    """What of the proof does not hold; the errors' paths are relative to ``made``.

    Codes: ``proof-grid`` (type, shape, scale or geometry), ``proof-outside`` (voxels outside the region),
    ``proof-numbers`` (what was measured).
    """
    if not proof.same_but_values(source, result):
        yield RecordError("proof-grid", "type, shape, scale or geometry differ from the source", ".image")
        return
    outside = proof.outside_hash(source.array, region)
    if made.region.outside != outside or proof.outside_hash(result.array, region) != outside:
        yield RecordError("proof-outside", "voxels outside the region differ from the source", ".region.outside")
        return
    side = made.region.side
    marked = finding if made.route == "lesion" else None
    sight = None if side is None else Sight(source, region, made.image.window, side, marked)
    found = proof.measured(source, result.array, region, outside, sight)
    for field in different(made.region, found):
        yield RecordError("proof-numbers", "what was measured is not what the files give", f".region.{field}")


def same_outside(source: Image, result: Image, region: Mask) -> bool:
    """Whether two images are equal but for the values of the region."""
    return proof.same_but_values(source, result) and (
        proof.outside_hash(source.array, region) == proof.outside_hash(result.array, region)
    )


def different(claimed: RegionProof, found: RegionProof) -> list[str]:
    """Fields in which two proofs differ; a claim without the newer fields is not held against it."""
    names = []
    for field in msgspec.structs.fields(RegionProof):
        one, other = getattr(claimed, field.name), getattr(found, field.name)
        if isinstance(one, float) and isinstance(other, float):
            same = math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        else:
            same = one == other or (field.name == "box" and one is None)
        if not same:
            names.append(field.name)
    return names
