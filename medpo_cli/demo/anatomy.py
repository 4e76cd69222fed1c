"""The healthy part of a chest phantom: body, lungs, heart, domes, bones, texture, noise.

Pictures are 96 x 96 float32 arrays [row, column] in grey levels; lengths are pixels, x right, y down.
Only + - * / and square roots are used, so that every machine draws the same picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medpo_cli.demo.streams import Stream

SIZE = 96
Layer = npt.NDArray[np.float32]
Y, X = (axis.astype(np.float32) + np.float32(0.5) for axis in np.mgrid[0:SIZE, 0:SIZE])
LEAN = 0.34  # the heart's axis points down and to the patient's left
DIRECTION = {"right": -1.0, "left": 1.0}  # patient's right is drawn on the image's left

AIR, TISSUE, LUNG, HEART, MEDIASTINUM, ABDOMEN, FLUID = 12.0, 112.0, 70.0, 44.0, 34.0, 36.0, 26.0


def ramp(distance: Layer, width: float) -> Layer:
    """Soft indicator of ``distance`` > 0: 0 below -width/2, 1 above width/2."""
    clipped: Layer = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return clipped


def disc(x: float, y: float, a: float, b: float, lean: float = 0.0) -> Layer:
    """Squared elliptic radius about (x, y), half axes a and b, leaning right below: 1 on the outline."""
    below = Y - np.float32(y)
    u, v = (X - np.float32(x) - np.float32(lean) * below) * np.float32(1 / a), below * np.float32(1 / b)
    radius: Layer = u * u + v * v
    return radius


@dataclass(frozen=True)
class Lung:
    """One lung: its outline's parameters, and ``inside``, the share of each pixel that is lung."""

    direction: float
    x: float
    y: float
    half_width: float
    half_height: float
    dome: Layer
    inside: Layer

    def radius(self, x: float = 0.0, y: float = 0.0) -> Layer:
        """Squared radius of the outline, shifted by (x, y): flatter than an ellipse, wider below."""
        v = (Y - np.float32(self.y + y)) * np.float32(1 / self.half_height)
        width = np.float32(self.half_width) * (1 + np.float32(0.16) * v)
        center = np.float32(self.x + x) + np.float32(self.direction * 2.5) * v
        u = (X - center) / width
        squared = v * v
        outline: Layer = u * u + squared * (np.float32(0.55) + np.float32(0.45) * squared)
        return outline

    def point(self, along: float, across: float) -> tuple[float, float]:
        """(x, y) at ``along`` from apex 0 to base 1 and ``across`` from -1 (medial) to 1 (lateral)."""
        v = 1.64 * along - 0.92
        reach = self.half_width * (1 + 0.16 * v)
        return self.x + self.direction * (2.5 * v + across * reach), self.y + v * self.half_height


def outline(radius: Layer, scale: float, width: float) -> Layer:
    """Soft inside of a squared radius; ``scale`` is the typical half axis in pixels."""
    return ramp((1 - radius) * np.float32(scale / 2), width)


@dataclass(frozen=True)
class Anatomy:
    """One person: where things are and what is seen before any lesion is drawn."""

    center: float
    lungs: dict[str, Lung]
    heart: Layer
    heart_at: tuple[float, float, float, float]
    still: Layer
    dense: Layer
    texture: Layer
    gain: float
    noise: Layer


def draw_lung(draw: Stream, side: str, center: float) -> Lung:
    """A lung of ordinary variation; the right dome stands higher."""
    direction = DIRECTION[side]
    half_width, half_height = draw.uniform(14.0, 16.5), draw.uniform(35.0, 39.0)
    x, y = center + direction * draw.uniform(17.5, 19.5), draw.uniform(45.0, 48.0)
    top = draw.uniform(71.0, 76.0) + (0.0 if side == "right" else 2.5)
    across = X - np.float32(x - direction * 3.0)
    dome = np.float32(top) + np.float32(draw.uniform(0.030, 0.042)) * across * across
    lung = Lung(direction, x, y, half_width, half_height, dome, X)
    inside = outline(lung.radius(), half_width, 1.6) * ramp(dome - Y, 1.6)
    return Lung(direction, x, y, half_width, half_height, dome, inside)


def draw_body(draw: Stream, center: float) -> Layer:
    """Neck, shoulders and trunk."""
    neck, trunk = draw.uniform(10, 13), draw.uniform(41.5, 45.5)
    slope = np.clip((Y - np.float32(draw.uniform(3, 7))) * np.float32(1 / 13.0), 0, 1)
    width = np.float32(neck) + np.float32(trunk - neck) * slope * (2 - slope)
    return ramp(width - np.abs(X - np.float32(center)), 2.5)


def draw_bones(draw: Stream, center: float) -> Layer:
    """Ribs behind and in front, clavicles and spine, in grey levels."""
    away = np.abs(X - np.float32(center))
    spacing, phase = draw.uniform(7.6, 8.8), draw.uniform()
    behind = (Y + np.float32(0.012) * (away - 16) * (away - 16) - np.float32(0.22) * away) * np.float32(1 / spacing)
    front = (Y - np.float32(0.50) * (36 - away)) * np.float32(1 / (spacing * 1.15))
    cage = ramp(1 - disc(center, 50, 37.5, 45), 0.16) * ramp(away - 6, 4)
    bones: Layer = cage * (band(behind + np.float32(phase), 0.24) * np.float32(draw.uniform(9, 14)))
    bones += cage * band(front + np.float32(draw.uniform()), 0.20) * np.float32(draw.uniform(4, 7))
    tilt = draw.uniform(0.14, 0.24)
    clavicle = np.float32(draw.uniform(15, 18.5)) - np.float32(tilt) * (away - 16)
    bones += ramp(1.7 - np.abs(Y - clavicle), 1.8) * ramp(away - 4, 3) * ramp(34 - away, 4) * np.float32(15)
    spine = ramp(4.0 - away, 3.0) * (np.float32(6) + 5 * band(Y * np.float32(1 / 6.5), 0.32))
    bones += spine
    return bones


def band(phase: Layer, half_width: float) -> Layer:
    """Bumps of height 1 at whole numbers of ``phase``."""
    offset = np.abs(phase - np.floor(phase) - np.float32(0.5))
    rise = np.clip((offset - np.float32(0.5 - half_width)) * np.float32(1 / half_width), 0, 1)
    bump: Layer = rise * (2 - rise)
    return bump


def smooth_field(draw: Stream, cells: int) -> Layer:
    """Bilinear noise, sd near 1, with ``cells`` cells along each axis."""
    coarse = draw.normals(cells + 2, cells + 2)
    position = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / SIZE)
    low = position.astype(np.intp)
    part = (position - low).astype(np.float32)
    rest = np.float32(1) - part
    rows = coarse[low] * rest[:, None] + coarse[low + 1] * part[:, None]
    field: Layer = rows[:, low] * rest + rows[:, low + 1] * part
    return field * np.float32(1.5)


def draw_anatomy(key: tuple[str | int, ...]) -> Anatomy:
    """The person that ``key`` names."""
    draw = Stream(*key, "anatomy")
    center = 48 + draw.uniform(-2.0, 2.0)
    lungs = {side: draw_lung(draw, side, center) for side in ("right", "left")}
    x, y = center + draw.uniform(4.0, 6.0), draw.uniform(60.0, 63.0)
    a, b = draw.uniform(12.0, 13.8), draw.uniform(14.5, 16.5)
    heart = outline(disc(x, y, a, b, LEAN), a, 2.2)
    away = np.abs(X - np.float32(center))
    body = draw_body(draw, center)
    middle = ramp(np.float32(draw.uniform(6.2, 7.8)) + np.clip((24 - Y) * np.float32(0.1), 0, 2) - away, 3.0)
    knob = outline(disc(center + 6.5, draw.uniform(31, 35), 4.2, 4.6), 4.2, 2.0)
    below = np.where(X < np.float32(center), lungs["right"].dome, lungs["left"].dome)
    abdomen = ramp(Y - np.minimum(below, np.float32(84)), 2.4)
    dense = np.maximum(np.maximum(middle, knob) * np.float32(MEDIASTINUM), abdomen * np.float32(ABDOMEN)) * body
    still = np.float32(AIR) + body * np.float32(TISSUE) + draw_bones(draw, center) * body
    still -= draw_bubble(draw, center)
    texture = draw_texture(Stream(*key, "texture"), center)
    noise = Stream(*key, "noise").normals(SIZE, SIZE) * np.float32(draw.uniform(2.6, 4.0))
    return Anatomy(center, lungs, heart, (x, y, a, b), still, dense, texture, draw.uniform(0.9, 1.1), noise)


def draw_bubble(draw: Stream, center: float) -> Layer:
    """Gas of the stomach under the left dome: dark, and no finding."""
    strength = draw.uniform(-20, 34)
    x, y = center + draw.uniform(15, 21), draw.uniform(86, 90)
    gas = np.clip(1 - disc(x, y, draw.uniform(5, 8), draw.uniform(3, 4.5)), 0, 1)
    dark: Layer = gas * np.float32(max(strength, 0.0))
    return dark


def draw_texture(draw: Stream, center: float) -> Layer:
    """Vessels and interstitium inside the lungs: coarse noise, stronger and brighter at the hila."""
    field = smooth_field(draw, 30) + np.float32(0.8) * smooth_field(Stream(draw.key.hex(), "coarse"), 11)
    texture = field * np.float32(3.0)
    for direction in (-1, 1):
        x, y = center + direction * draw.uniform(9.5, 11.5), draw.uniform(44, 48)
        near = np.clip(1 - disc(x, y, 11, 13), 0, 1)
        texture += near * (np.float32(draw.uniform(20, 28)) + 5 * field)
    return texture
