"""The five findings of the phantom world and their attributes; the one vocabulary of this package."""

from dataclasses import dataclass

FINDINGS = ("cardiomegaly", "nodule", "opacity", "pleural_effusion", "pneumothorax")
SIDES = ("left", "right")
ZONES = ("upper", "middle", "lower")
SIZES = ("small", "large")

WITH_SIDE = ("nodule", "opacity", "pleural_effusion", "pneumothorax")
WITH_ZONE = ("nodule", "opacity")
WITH_SIZE = ("nodule", "pleural_effusion", "pneumothorax")


@dataclass(frozen=True)
class Lesion:
    """One finding that is present.

    ``side`` is the patient's side in the radiographic convention (patient right = image left);
    attributes that the finding does not have are None (see WITH_SIDE, WITH_ZONE, WITH_SIZE).
    """

    finding: str
    side: str | None = None
    zone: str | None = None
    size: str | None = None


Lesions = dict[str, Lesion]
