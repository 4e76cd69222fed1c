"""Make ``ct/data/slices.npz``: lesion-free chest CT slices with their lungs (maintainers only).

``python -m medpo_cli.demo.build.ct_slices FOLDER`` where FOLDER keeps the downloads.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medpo_cli.demo.build.ct_sources import CHEST, Volume, fetch, read_case, read_volume
from medpo_cli.demo.ct.slices import FILE, HU_HIGH, HU_LOW, SPACING

MINIMUM_LUNG_MM2 = 2500.0
DOME_MM2 = 120.0
DOME_GREY = 110
LESION_MARGIN = 2


def body_of(hu: np.ndarray) -> np.ndarray:
    """The patient without table and air: largest component above -300 HU of each slice, filled."""
    planes = []
    for plane in hu:
        labels, count = ndimage.label(ndimage.binary_opening(plane > -300, iterations=2))
        sizes = np.bincount(labels.ravel())[1:] if count else np.zeros(1)
        planes.append(ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax())))
    return np.stack(planes)


def airways_of(hu: np.ndarray, body: np.ndarray, pixel: float) -> np.ndarray:
    """Trachea and main bronchi, followed downwards slice by slice from the neck.

    Smoothed air below -920 HU in components of 25 to 800 mm2 that touch the airway of the slice above;
    lungs are not that empty, and the area limit stops a leak into an emphysematous one.
    """
    airway = np.zeros(hu.shape, bool)
    above: np.ndarray | None = None
    for z in range(len(hu) - 1, -1, -1):
        air = (ndimage.gaussian_filter(hu[z].astype(float), 0.8 / pixel) < -920) & ndimage.binary_erosion(
            body[z], iterations=round(12 / pixel)
        )
        labels, count = ndimage.label(air)
        for label in range(1, count + 1):
            part = labels == label
            if not 25 <= part.sum() * pixel**2 <= 800:
                continue
            if above is None or not above.any() or (part & above).any():
                airway[z] |= part
        above = ndimage.binary_dilation(airway[z], iterations=max(1, round(3 / pixel)))
    grown: np.ndarray = ndimage.binary_dilation(airway, ndimage.generate_binary_structure(3, 1), iterations=1)
    return grown & (hu < -300)


def lungs_of(hu: np.ndarray, body: np.ndarray, airway: np.ndarray, pixel: float) -> np.ndarray:
    """Lungs with the vessels inside them, airways left out; bool [z, y, x]."""
    inside = np.stack([ndimage.binary_erosion(plane, iterations=round(4 / pixel)) for plane in body])
    lungs = np.zeros(hu.shape, bool)
    disc = np.hypot(*np.mgrid[-8:9, -8:9]) <= 4.5 / pixel
    for z, plane in enumerate((hu < -500) & inside & ~airway):
        labels, _ = ndimage.label(ndimage.binary_opening(plane))
        sizes = np.bincount(labels.ravel()) * pixel**2
        keep = sizes > 450
        keep[0] = False
        lungs[z] = ndimage.binary_closing(keep[labels], disc)
    result: np.ndarray = lungs & ~airway
    return result


def in_plane(planes: np.ndarray, pixel: float, order: int) -> np.ndarray:
    """Slices resampled to ``SPACING`` mm, smoothed first where that makes them coarser."""
    sigma = 0.5 * max(SPACING / pixel - 1, 0) if order else 0.0
    smooth = [ndimage.gaussian_filter(plane.astype(np.float32), sigma) for plane in planes]
    return np.stack(
        [ndimage.zoom(plane, pixel / SPACING, order=order, grid_mode=True, mode="nearest") for plane in smooth]
    )


def has_dome(lung: np.ndarray, tissue: np.ndarray) -> bool:
    """Whether an island of soft tissue lies in the lungs: the top of the diaphragm looks like a lesion."""
    labels, count = ndimage.label(ndimage.binary_fill_holes(lung) & ~lung & tissue)
    return bool(count) and float(np.bincount(labels.ravel())[1:].max()) * SPACING**2 > DOME_MM2


def two_lungs(lung: np.ndarray) -> bool:
    """Whether both halves of the picture hold enough lung."""
    middle = int(np.nonzero(lung.any(axis=0))[0].mean()) if lung.any() else 0
    smaller = int(min(lung[:, :middle].sum(), lung[:, middle:].sum()))
    return smaller * SPACING**2 >= MINIMUM_LUNG_MM2


def slices_of(volume: Volume, lesion: np.ndarray | None) -> dict[str, np.ndarray]:
    """Grey values, lungs and z positions (mm from the lowest slice) of a volume's lesion-free slices."""
    hu, pixel = volume.values.astype(np.float32), volume.spacing[2]
    body = body_of(hu)
    lungs = lungs_of(hu, body, airways_of(hu, body, pixel), pixel)
    hu = np.where(np.stack([ndimage.binary_dilation(plane, iterations=3) for plane in body]), hu, HU_LOW)
    if lesion is not None:
        ill = np.nonzero(lesion.any(axis=(1, 2)))[0]
        near = np.abs(np.arange(len(hu))[:, None] - ill[None]).min(axis=1) <= LESION_MARGIN
    else:
        near = np.zeros(len(hu), bool)
    lungs = in_plane(lungs, pixel, 0) > 0.5
    grey = np.clip((in_plane(hu, pixel, 1) - HU_LOW) / (HU_HIGH - HU_LOW) * 255, 0, 255).round().astype(np.uint8)
    keep = [
        z for z in range(len(hu)) if not near[z] and two_lungs(lungs[z]) and not has_dome(lungs[z], grey[z] > DOME_GREY)
    ]
    rows, columns = (np.nonzero((grey[keep] > 0).any(axis=(0, axis)))[0] for axis in (2, 1))
    box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    z = np.array(keep) * volume.spacing[0]
    return {"grey": grey[keep][box], "lung": lungs[keep][box], "z": z.astype(np.float32)}


def thick(volume: Volume) -> Volume:
    """Every second slice of a 1.5 mm volume, each the mean of three: 4.5 mm slices every 3 mm."""
    values = ndimage.uniform_filter1d(volume.values.astype(np.float32), 3, axis=0)[1::2]
    return Volume(values, (2 * volume.spacing[0], *volume.spacing[1:]), volume.origin)


def main(folder: Path) -> None:
    """Write the data file."""
    fetch(folder)
    arrays: dict[str, np.ndarray] = {}
    for name in ("lung1", "lung2"):
        volume, lesion = read_case(folder, name)
        arrays |= {f"{name}.{key}": value for key, value in slices_of(volume, lesion).items()}
    arrays |= {f"chest.{key}": value for key, value in slices_of(thick(read_volume(folder / CHEST)), None).items()}
    packed: dict[str, Any] = {
        key: np.packbits(value, axis=-1) if value.dtype == bool else value for key, value in arrays.items()
    }
    np.savez_compressed(FILE, **packed)
    for key, value in arrays.items():
        print(key, value.shape, value.dtype)
    print(FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
