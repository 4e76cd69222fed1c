"""Make ``ct/data/real/``: the source package's real lesions as small NIfTI volumes (maintainers only).

``python -m medpo_cli.demo.build.ct_real FOLDER``. CT is resampled in the plane to 1.5 mm, clipped to
-1000..1000 HU in steps of 4 HU and cleared outside the patient; MR to 1 mm (the small breast crop stays
as it is). Slices stay as they are. Files are stored in LPS order with the matching affine.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from medpo_cli.demo.build.ct_slices import body_of
from medpo_cli.demo.build.ct_sources import CASES, Volume, fetch, read_case
from medpo_cli.demo.ct.real import FOLDER
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.nifti import encode

HU_STEP = 4
SPACING = {"lung1": 1.5, "lung2": 1.5, "brain1": 1.0, "brain2": 1.0, "breast1": None}


def resampled(planes: np.ndarray, factor: float, order: int) -> np.ndarray:
    """Slices [z, y, x] zoomed in the plane by ``factor``, smoothed before where that makes them coarser."""
    sigma = 0.4 * max(1 / factor - 1, 0)
    smooth = [ndimage.gaussian_filter(plane.astype(np.float32), sigma) for plane in planes]
    return np.stack([ndimage.zoom(plane, factor, order=order, grid_mode=True, mode="nearest") for plane in smooth])


def prepared(name: str, values: np.ndarray) -> np.ndarray:
    """Grey values as they are stored, int16 [z, y, x]."""
    if name.startswith("lung"):
        body = np.stack([ndimage.binary_dilation(plane, iterations=4) for plane in body_of(values)])
        values = np.where(body, np.clip(values, -1000, 1000), -1000)
        return (np.round(values / HU_STEP) * HU_STEP).astype(np.int16)
    return np.round(values).astype(np.int16)


def affine_of(volume: Volume, factor: float) -> np.ndarray:
    """Voxel to RAS mm of an LPS volume whose pixels were made ``1 / factor`` as wide; the corner stays."""
    z, y, x = volume.spacing
    affine = np.diag([-x / factor, -y / factor, z, 1.0])
    shift = (1 / factor - 1) / 2
    origin = np.add(volume.origin, (shift * x, shift * y, 0))
    affine[:3, 3] = origin * [-1, -1, 1]
    return affine


def nifti(planes: np.ndarray, affine: np.ndarray) -> bytes:
    """A .nii.gz of [z, y, x] planes."""
    array = np.ascontiguousarray(planes.transpose(2, 1, 0))
    spacing = tuple(float(abs(affine[axis, axis])) for axis in range(3))
    return encode(Image(array, "nifti", affine, (spacing[0], spacing[1], spacing[2])), array, level=9)


def main(folder: Path) -> None:
    """Write the volumes and their masks."""
    fetch(folder)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        volume, mask = read_case(folder, name)
        target = SPACING[name]
        factor = volume.spacing[2] / target if target else 1.0
        affine = affine_of(volume, factor)
        values = resampled(volume.values, factor, 1) if target else volume.values
        cover = resampled(mask.astype(np.float32), factor, 1) if target else mask
        (FOLDER / f"{name}.nii.gz").write_bytes(nifti(prepared(name, values), affine))
        (FOLDER / f"{name}.mask.nii.gz").write_bytes(nifti((cover >= 0.5).astype(np.uint8), affine))
        print(name, values.shape, int((cover >= 0.5).sum()), (FOLDER / f"{name}.nii.gz").stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
