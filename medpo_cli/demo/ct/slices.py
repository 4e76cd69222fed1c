"""The lesion-free chest CT slices that cases are made on, and which split each belongs to."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "slices.npz"
HU_LOW, HU_HIGH = -1000.0, 400.0
SPACING = 1.2

SPLITS = ("train", "validation", "test")
TEST_PATIENT = "lung2"
PATIENTS = ("lung1", "chest", TEST_PATIENT)
VALIDATION_BLOCK = (0.4, 0.6)


@dataclass(frozen=True, eq=False)
class Slice:
    """One axial slice of a patient.

    ``grey`` uint8 [H, W]: 0..255 over ``HU_LOW``..``HU_HIGH``, ``SPACING`` mm pixels, row 0 at the front,
    column 0 at the patient's right; ``lung`` bool [H, W]; ``z`` mm above the volume's lowest slice.
    """

    patient: str
    z: float
    grey: np.ndarray
    lung: np.ndarray


@cache
def all_slices() -> dict[str, list[Slice]]:
    """Every shipped slice by patient, from the feet upwards."""
    with np.load(FILE, allow_pickle=False) as data:
        return {patient: _patient(data, patient) for patient in PATIENTS}


def _patient(data: dict[str, np.ndarray], patient: str) -> list[Slice]:
    grey = data[f"{patient}.grey"]
    lung = np.unpackbits(data[f"{patient}.lung"], axis=-1, count=grey.shape[-1]).astype(bool)
    return [Slice(patient, float(z), g, m) for z, g, m in zip(data[f"{patient}.z"], grey, lung, strict=True)]


@cache
def slices_for(split: str) -> tuple[Slice, ...]:
    """The slices of one split; no slice is in two, and ``test`` is a patient that no other split has.

    ``validation`` is a block of neighbouring slices of each training patient; the slice on each side of
    it is in no split, so that no training slice touches a validation slice.

    Raises:
        ValueError: unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}")
    if split == "test":
        return tuple(all_slices()[TEST_PATIENT])
    chosen: list[Slice] = []
    for patient in (name for name in PATIENTS if name != TEST_PATIENT):
        stack = all_slices()[patient]
        first, last = (round(share * len(stack)) for share in VALIDATION_BLOCK)
        chosen += stack[first:last] if split == "validation" else stack[: first - 1] + stack[last + 1 :]
    return tuple(chosen)
