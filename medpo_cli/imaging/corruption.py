"""One corrupted image: named, seeded and written by what is in it, so that equal regions share one file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from medpo_cli.errors import CannotCreateError, RecordError
from medpo_cli.imaging import nifti, proof
from medpo_cli.imaging.image import Array, Image, Mask
from medpo_cli.imaging.operators import OPERATORS
from medpo_cli.imaging.operators.base import Settings, inside, placed
from medpo_cli.imaging.regions import box_of, region_hash
from medpo_cli.imaging.sight import Sight, remaining
from medpo_cli.imaging.window import resolve_window
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import RegionProof, Window

Parameters = dict[str, float | int | str | bool]
SIGMA = {"gaussian": 45.0, "replace": 10.0}
"""Standard deviations of FiRe-MPO and MMedPO."""
ON_THE_VIEW = {"gaussian", "diffusion", "replace", "patch-black"}
"""Operators defined on the 0-255 scale of the view, so that images shown through a window carry it."""


@dataclass(frozen=True)
class Made:
    """A written image: file name, sha256 of its bytes, seed of its noise, proof."""

    name: str
    sha256: str
    seed: int
    proof: RegionProof


@dataclass(frozen=True)
class Limits:
    """What a corruption may leave: share of contrast, and ratio of roughness; 0 for no limit."""

    remaining: float = 0.0
    tell: float = 0.0

    def check(self, sight: Sight, before: Array, after: Array) -> None:
        """Raise RecordError ``evidence-left`` or ``tell-tale`` where a limit is passed."""
        if not self.remaining and not self.tell:
            return
        look = sight.look(after)
        left, texture = remaining(sight.look(before), look), look.texture
        if self.remaining and left is not None and abs(left) > self.remaining:
            raise RecordError("evidence-left", "more of the finding's contrast is left than --max-remaining allows")
        if self.tell and texture is not None and max(texture, 1 / max(texture, 1e-9)) > self.tell:
            raise RecordError("tell-tale", "the region's texture gives it away more than --max-tell allows")


def parameters_of(
    operator: str, config: CorruptConfig, image: Image, window: Window | None, symmetry: tuple[int, int] | None = None
) -> Parameters:
    """All that changes an operator's result beside image, region and seed.

    Args:
        operator: a name of ``OPERATORS``.
        config: the user's settings; those that the operator does not use are left out.
        image: what it works on.
        window: the reference's own window.
        symmetry: axis and sum of mirrored indices, for ``mirror``.
    """
    shrink = max(1.0, max(image.shape[:2]) / config.model_side)
    found: Parameters = {}
    if operator in SIGMA:
        found["sigma"] = SIGMA[operator] if config.sigma is None else config.sigma
    if operator == "diffusion":
        found["timestep"] = config.timestep
    if operator == "blur":
        found["blur"] = config.blur
    if operator == "patch-black":
        found |= {"patch": config.patch * shrink, "share": config.patch_share}
    if operator in {"gaussian", "diffusion", "replace"} and config.sigma_at == "model" and shrink > 1:
        found["step"] = shrink
    if operator == "mirror" and symmetry is not None:
        found |= {"axis": symmetry[0], "total": symmetry[1]}
    shown = resolve_window(image, window) if operator in ON_THE_VIEW and not image.plain else None
    if shown is not None:
        found |= {"window_center": shown.center, "window_width": shown.width}
    if config.feather:
        found["feather"] = config.feather
    return found


def settings_of(parameters: Parameters, image: Image) -> Settings:
    """The operator's settings, in stored values of ``image``."""
    given = {name: value for name, value in parameters.items() if name in Settings.__dataclass_fields__}
    sign, unit, black = (-1.0 if image.inverted else 1.0), 1.0, 255.0 if image.inverted else 0.0
    if "window_width" in parameters:
        center, width = (float(parameters[name]) for name in ("window_center", "window_width"))
        unit = width / 255 / abs(image.slope)
        black = (center - sign * width / 2 - image.inter) / image.slope
        sign *= np.sign(image.slope)
    spacing = image.spacing or (1.0, 1.0, 1.0)
    return Settings(unit=unit, black=black, sign=float(sign), spacing=spacing, **given)  # type: ignore[arg-type]


def key_of(content: bytes, mask: Mask, operator: str, parameters: Parameters, seed: int) -> bytes:
    """16 bytes from image content, region content, operator, parameters and run seed (contract section 5)."""
    canonical = json.dumps([operator, parameters, seed, region_hash(mask)], sort_keys=True, allow_nan=False)
    digest = hashlib.blake2b(content, digest_size=16, person=b"medpo-corrupt")
    digest.update(canonical.encode())
    return digest.digest()


def stream_of(key: bytes) -> tuple[int, np.random.Generator]:
    """Seed (53 bits, which every JSON reader keeps) and the random stream of a key."""
    seed = int.from_bytes(key[:8], "big") >> 11
    return seed, np.random.Generator(np.random.PCG64(seed))


def apply(image: Image, key: bytes, mask: Mask, operator: str, parameters: Parameters) -> Array:
    """The image's array with the region destroyed.

    Raises:
        RecordError: ``mask-too-large`` where the operator has nothing around the region to go by, ``no-mirror``.
    """
    try:
        array = OPERATORS[operator](image.array, mask, stream_of(key)[1], settings_of(parameters, image))
    except ValueError:
        raise RecordError("mask-too-large", "the region leaves nothing around it to fill it from") from None
    feather = int(parameters.get("feather", 0))
    return feathered(image.array, array, mask, feather) if feather else array


def feathered(before: Array, after: Array, mask: Mask, width: int) -> Array:
    """Mix both inside the region so that the change fades in over ``width`` pixels from its edge.

    An edge softened outwards would change voxels outside the region. At the picture's own edge nothing fades.
    """
    region = mask[box_of(mask, margin=1)]
    if region.all():
        return after
    depth = distance_transform_edt(region, sampling=(1.0, 1.0, 1e6))
    weight = np.clip(depth[region] / (width + 1), 0, 1)
    old, new = inside(before, mask), inside(after, mask)
    weight = weight[:, None] if old.ndim == 2 else weight
    return placed(before, mask, old + weight * (new - old))


def destroy(
    image: Image, key: bytes, mask: Mask, operator: str, parameters: Parameters, folder: Path,
    *, sight: Sight | None = None, limits: Limits | None = None,
) -> Made:  # fmt: skip
    """Apply an operator, write ``folder``/KEY.nii.gz once, read it again and prove it.

    Args:
        image: the clean image.
        key: 16 bytes that name file and random stream.
        mask: the region.
        operator: a name of ``OPERATORS``.
        parameters: of ``parameters_of``.
        folder: where images lie.
        sight: measures the proof at the model's side.
        limits: what a corruption may leave there; nothing is written where it leaves more.

    Raises:
        RecordError: as ``apply`` and ``Limits.check``.
        CannotCreateError: the folder cannot be written.
        OutputError: writing failed midway.
    """
    return write(image, _within(limits, image, key, mask, operator, parameters, sight), key, mask, folder, sight)


def _within(
    limits: Limits | None, image: Image, key: bytes, mask: Mask, operator: str, parameters: Parameters,
    sight: Sight | None,
) -> Array:  # fmt: skip
    """``apply``, checked against the limits."""
    array = apply(image, key, mask, operator, parameters)
    if sight is not None and limits is not None:
        limits.check(sight, image.array, array)
    return array


def write(image: Image, array: Array, key: bytes, mask: Mask, folder: Path, sight: Sight | None = None) -> Made:
    """Write ``array`` as ``folder``/KEY.nii.gz, read it again and prove it; raises as ``destroy``."""
    path = folder / f"{key.hex()}.nii.gz"
    data = nifti.encode(image, array)
    write_once(path, data)
    digest = hashlib.sha256(data).hexdigest()
    del array, data  # The proof reads the file: two volumes in memory are enough.
    return Made(path.name, digest, stream_of(key)[0], proof.prove(image, path, mask, sight))


def write_once(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step, unless the file holds these bytes already.

    Forcing it to the disk is left to the end of the stage: once for all files is many times cheaper.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: writing failed midway.
    """
    try:
        if path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise CannotCreateError("the folder for corrupted images cannot be written (--images)") from None
    write_atomic(path, data, sync=False)
