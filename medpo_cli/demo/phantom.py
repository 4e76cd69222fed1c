"""Chest phantoms with known findings: picture, exact mask a lesion, and the picture without it.

Each lesion has its own random stream, so that leaving one out moves nothing else. A lesion's mask is
where the noise-free picture with all lesions differs from the one without it by a grey level or more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medpo_cli.demo import anatomy
from medpo_cli.demo.anatomy import SIZE, Anatomy, Layer, Lung, X, Y, disc, outline, ramp
from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, WITH_SIDE, WITH_SIZE, WITH_ZONE, ZONES, Lesion, Lesions
from medpo_cli.demo.streams import Stream

PREVALENCE = 0.42
ALONG = {"upper": (0.17, 0.29), "middle": (0.42, 0.54), "lower": (0.68, 0.79)}
Key = tuple[str | int, ...]


@dataclass
class Coverage:
    """What lesions do to a picture, layers [row, column].

    ``heart``, ``fluid`` and ``free_air`` are shares (0..1); ``haze`` (seen less through the heart) and
    ``added`` are grey levels.
    """

    heart: Layer | None = None
    fluid: Layer | None = None
    free_air: Layer | None = None
    haze: Layer | None = None
    added: Layer | None = None


@dataclass(frozen=True)
class Phantom:
    """A picture with its truth. ``picture`` is uint8 [96, 96], rows down; masks are bool on that grid."""

    lesions: Lesions
    person: Anatomy
    coverage: Mapping[str, Coverage]

    @cached_property
    def clean(self) -> Layer:
        """The picture before noise."""
        return compose(self.person, list(self.coverage.values()))

    @cached_property
    def picture(self) -> npt.NDArray[np.uint8]:
        """What the model sees."""
        return self._finish(self.clean)

    def mask(self, finding: str) -> npt.NDArray[np.bool_]:
        """Pixels that ``finding`` changes."""
        difference: npt.NDArray[np.bool_] = np.abs(self.clean - self._without(finding)) >= 1
        return difference

    def region(self, finding: str) -> npt.NDArray[np.bool_]:
        """What a reader would outline: the whole heart if it is enlarged, else ``mask(finding)``.

        The mask of a big heart is the crescent by which it is too big, and a crescent between heart and
        lung cannot be filled in from its surroundings.
        """
        heart = self.coverage[finding].heart
        return self.mask(finding) if heart is None else (heart > 0) | self.mask(finding)

    def twin(self, finding: str) -> npt.NDArray[np.uint8]:
        """The same picture without ``finding``: equal outside ``mask(finding)``, unequal inside.

        (Equal inside too where both are beyond black or white.)
        """
        return self._finish(np.where(self.mask(finding), self._without(finding), self.clean))

    def _without(self, finding: str) -> Layer:
        return compose(self.person, [cover for name, cover in self.coverage.items() if name != finding])

    def _finish(self, clean: Layer) -> npt.NDArray[np.uint8]:
        noisy = clean + self.person.noise + np.float32(0.5)
        grey: npt.NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
        return grey


def compose(person: Anatomy, lesions: list[Coverage]) -> Layer:
    """The noise-free picture in grey levels: what is dense is bright, what holds air is dark."""
    heart, air = person.heart, person.lungs["right"].inside + person.lungs["left"].inside
    for lesion in lesions:
        heart = heart if lesion.heart is None else lesion.heart
    seen_air = 1 - heart
    picture: Layer = person.still + np.maximum(person.dense, heart * np.float32(anatomy.HEART))
    contents = person.texture - np.float32(anatomy.LUNG)
    for lesion in lesions:
        if lesion.fluid is not None:
            air = air * (1 - lesion.fluid)
            picture += lesion.fluid * seen_air * np.float32(anatomy.FLUID)
        if lesion.free_air is not None:
            contents = contents - lesion.free_air * (person.texture + 24)
        if lesion.haze is not None:
            picture += lesion.haze * (1 - np.float32(0.75) * heart)
        if lesion.added is not None:
            picture += lesion.added
    picture += air * seen_air * contents
    picture *= np.float32(person.gain)
    return picture


def draw_lesions(key: Key, *, confounded: bool = False, prevalence: float = PREVALENCE) -> Lesions:
    """Which findings the image has.

    Args:
        key: names the image.
        confounded: a big heart brings an effusion in 80 % of images, else 20 % have one.
        prevalence: chance of each other finding.
    """
    found: Lesions = {}
    for finding in FINDINGS:
        draw = Stream(*key, "lesion", finding)
        chance = prevalence
        if confounded and finding == "pleural_effusion":
            chance = 0.8 if "cardiomegaly" in found else 0.2
        if draw.chance(chance):
            side = draw.choice(SIDES) if finding in WITH_SIDE else None
            zone = draw.choice(ZONES) if finding in WITH_ZONE else None
            size = draw.choice(SIZES) if finding in WITH_SIZE else None
            found[finding] = Lesion(finding, side, zone, size)
    return found


def render(key: Key, lesions: Lesions) -> Phantom:
    """The image that ``key`` names, with the given lesions."""
    person = anatomy.draw_anatomy(key)
    coverage = {name: cover(person, lesion, Stream(*key, "shape", name)) for name, lesion in lesions.items()}
    return Phantom(lesions, person, coverage)


def phantom(split: str, seed: int, index: int, *, confounded: bool = False) -> Phantom:
    """Image ``index`` of a split; a function of its arguments only."""
    key = ("phantom", split, seed, index)
    return render(key, draw_lesions(key, confounded=confounded))


def cover(person: Anatomy, lesion: Lesion, draw: Stream) -> Coverage:
    """What ``lesion`` does to the picture of ``person``."""
    if lesion.finding == "cardiomegaly":
        return Coverage(heart=enlarged_heart(person, draw))
    lung = person.lungs[lesion.side or ""]
    match lesion.finding:
        case "nodule":
            return Coverage(added=nodule(lung, lesion, draw))
        case "opacity":
            return Coverage(haze=opacity(lung, lesion, draw))
        case "pleural_effusion":
            return Coverage(fluid=effusion(lung, lesion.size == "large", draw))
        case _:
            return pneumothorax(lung, lesion.size == "large", draw)


def enlarged_heart(person: Anatomy, draw: Stream) -> Layer:
    """A heart about 1.4 times as wide, mostly to the patient's left; holds the ordinary one."""
    x, y, a, b = person.heart_at
    wide, tall = a * draw.uniform(1.36, 1.52), b * draw.uniform(1.08, 1.2)
    big = outline(disc(x + draw.uniform(1.0, 2.2), y, wide, tall, anatomy.LEAN), wide, 2.2)
    union: Layer = np.maximum(big, person.heart)
    return union


def nodule(lung: Lung, lesion: Lesion, draw: Stream) -> Layer:
    """A round density: radius 2.6-3.3 px (small) or 4.8-6.2 px (large)."""
    x, y = lung.point(draw.uniform(*ALONG[lesion.zone or ""]), draw.uniform(0.0, 0.55))
    radius = draw.uniform(2.6, 3.3) if lesion.size == "small" else draw.uniform(4.8, 6.2)
    profile = np.clip(1 - disc(x, y, radius, radius * draw.uniform(0.9, 1.1)), 0, 1)
    bump: Layer = profile * (2 - profile) * np.float32(draw.uniform(42, 54))
    return bump


def opacity(lung: Lung, lesion: Lesion, draw: Stream) -> Layer:
    """Patchy haze: overlapping soft discs of uneven density inside the lung."""
    x, y = lung.point(draw.uniform(*ALONG[lesion.zone or ""]), draw.uniform(0.05, 0.4))
    haze = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(6):
        radius = draw.uniform(4.0, 6.5)
        profile = np.clip(1 - disc(x + draw.uniform(-6, 6), y + draw.uniform(-5, 5), radius, radius), 0, 1)
        haze += profile * np.float32(draw.uniform(18, 30))
    uneven = 1 + np.float32(0.3) * anatomy.smooth_field(draw, 24)
    patchy: Layer = np.minimum(haze, np.float32(40)) * uneven * lung.inside
    return patchy


def effusion(lung: Lung, large: bool, draw: Stream) -> Layer:
    """Fluid above the dome with a meniscus that climbs at the chest wall."""
    depth, climb = (
        (draw.uniform(9, 15), draw.uniform(9, 13)) if large else (draw.uniform(-2.5, 1), draw.uniform(7, 9.5))
    )
    lateral = np.clip(((X - np.float32(lung.x)) * np.float32(lung.direction / lung.half_width) + 1) * 0.5, 0, 1)
    dome = np.float32(lung.dome.min())
    surface = dome + 1 - np.float32(depth) - np.float32(climb) * lateral * lateral
    filled: Layer = ramp(Y - surface, 2.5) * lung.inside
    return filled


def pneumothorax(lung: Lung, large: bool, draw: Stream) -> Coverage:
    """Air without markings between chest wall and a thin bright pleural line, apex and side."""
    shift = draw.uniform(7.5, 10.5) if large else draw.uniform(3.8, 5.2)
    inner = lung.radius(-lung.direction * shift, shift * draw.uniform(0.9, 1.3))
    outside = (inner - 1) * np.float32(lung.half_width / 2)
    line = np.clip(1 - np.abs(outside), 0, 1) * lung.inside * np.float32(26)
    above = ramp(lung.dome - np.float32(3) - Y, 4.0)
    return Coverage(free_air=ramp(outside, 1.4) * lung.inside * above, haze=line * above)
