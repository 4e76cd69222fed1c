"""From voxel axes to the picture on the screen and back, and whether two grids are one.

Radiological display: the patient's right is at the left of the picture, anterior or superior is up;
in sagittal planes anterior is at the left. Without an affine the picture is shown as stored.
"""

import numpy as np

from medpo_cli.imaging.image import Affine, Array, Image

CORNER_TOLERANCE = 0.1
"""Largest distance of corners in voxels at which two grids count as one."""


def anatomical_axes(affine: Affine) -> list[tuple[int, int]]:
    """For each voxel axis the nearest of right-left, back-front, foot-head (0, 1, 2) and the sign of its direction."""
    from nibabel.orientations import io_orientation  # Pictures without geometry do without its start-up time.

    return [(int(axis), int(sign)) for axis, sign in io_orientation(affine)]


def display(affine: Affine | None) -> tuple[bool, bool, bool]:
    """How plane axes 0 and 1 are shown: (axis 0 runs across, columns mirrored, rows mirrored)."""
    if affine is None:
        return True, False, False
    (axis0, sign0), (axis1, sign1) = anatomical_axes(affine)[:2]
    # Of right-left, back-front, foot-head (0, 1, 2) the lower one runs across; a sign of +1 runs towards
    # the patient's right, front or head, which belongs at the picture's left and top ... so it is mirrored.
    return (True, sign0 > 0, sign1 > 0) if axis0 < axis1 else (False, sign1 > 0, sign0 > 0)


def to_picture(plane: Array, affine: Affine | None) -> Array:
    """``[X, Y(, 3)]`` of one slice to the picture ``[H, W(, 3)]``."""
    across, columns, rows = display(affine)
    picture = plane.swapaxes(0, 1) if across else plane
    picture = picture[:, ::-1] if columns else picture
    return picture[::-1] if rows else picture


def from_picture(picture: Array, affine: Affine | None) -> Array:
    """Inverse of ``to_picture``."""
    across, columns, rows = display(affine)
    plane = picture[::-1] if rows else picture
    plane = plane[:, ::-1] if columns else plane
    return plane.swapaxes(0, 1) if across else plane


def same_grid(one: Image, other: Image) -> bool:
    """Whether voxels of both images coincide; an image without patient geometry only needs the shape."""
    if one.shape != other.shape or one.frames != other.frames:
        return False
    if one.affine is None or other.affine is None:
        return True
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in one.shape], [1], indexing="ij")).reshape(4, -1)
    there = np.linalg.solve(one.affine, other.affine @ corners)
    return bool(np.abs(there - corners).max() <= CORNER_TOLERANCE)


def side_axis(image: Image) -> int:
    """In-plane voxel axis along which left and right lie (-1: the plane is sagittal)."""
    if image.affine is None:
        return 0
    axes = [axis for axis, _ in anatomical_axes(image.affine)[:2]]
    return axes.index(0) if 0 in axes else -1
