"""Operators that destroy what a region shows: pure functions of array, mask and random stream.

All return a copy of the array that differs inside the mask only, of the same type: whole numbers are
rounded (not truncated) and clipped to the range of the type, never to a window. They work on pictures and
volumes, grey and colour. A region on one slice of a volume is treated in its plane.
"""

from medpo_cli.imaging.operators.base import Operator, Settings
from medpo_cli.imaging.operators.cut import area_crop, patch_black
from medpo_cli.imaging.operators.fill import biharmonic, blur, harmonic, mirror, ring_median
from medpo_cli.imaging.operators.noise import diffusion, gaussian, replace, ring_noise, shuffle
from medpo_cli.imaging.operators.texture import harmonic_texture

__all__ = ["ESCALATION", "NEED_NOTHING_AROUND", "OPERATORS", "Operator", "Settings", "usual_growth"]

OPERATORS: dict[str, Operator] = {
    "harmonic-texture": harmonic_texture,
    "harmonic": harmonic,
    "biharmonic": biharmonic,
    "mirror": mirror,
    "ring-noise": ring_noise,
    "ring-median": ring_median,
    "blur": blur,
    "shuffle": shuffle,
    "gaussian": gaussian,
    "diffusion": diffusion,
    "replace": replace,
    "patch-black": patch_black,
    "area-crop": area_crop,
}

NEED_NOTHING_AROUND = frozenset({"gaussian", "diffusion", "replace", "shuffle", "patch-black", "area-crop"})
"""Operators that can be applied to a whole image; a fill has nothing to go by there."""

RIM = 2
"""Pixels around a reader's mask that still show the finding: its blurred edge, which a fill would carry inwards."""


def usual_growth(operator: str) -> int:
    """Pixels that a region is grown by where nobody says how many; published noise keeps to the mask as it is."""
    return 0 if operator in NEED_NOTHING_AROUND else RIM


ESCALATION: tuple[tuple[str, int], ...] = (
    ("harmonic-texture", 0),
    ("harmonic-texture", 1),
    ("harmonic-texture", 2),
    ("harmonic-texture", 3),
    ("mirror", 1),
    ("ring-noise", 1),
)
"""What is tried after an operator that left too much: name, and pixels that the region is grown by.

What a good fill leaves of a real lesion is mostly its blurred rim outside a tight mask, so growing comes first.
"""
