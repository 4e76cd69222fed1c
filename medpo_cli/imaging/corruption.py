"""One corrupted image: named, seeded and written by what is in it, so that equal regions share one file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medpo_cli.errors import CannotCreateError, RecordError
from medpo_cli.imaging import nifti, proof
from medpo_cli.imaging.image import Image, Mask
from medpo_cli.imaging.operators import OPERATORS, Settings
from medpo_cli.imaging.regions import region_hash
from medpo_cli.imaging.window import resolve_window
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.records import RegionProof, Window

Parameters = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class Made:
    """A written image: file name, sha256 of its bytes, seed of its noise, proof."""

    name: str
    sha256: str
    seed: int
    proof: RegionProof


def parameters_of(operator: str, sigma: float, image: Image, window: Window | None) -> Parameters:
    """All that changes an operator's result beside image, region and seed.

    Noise is defined on the 0-255 scale of the view, so images that are shown through a window carry it.
    """
    if operator != "gaussian":
        return {}
    shown = resolve_window(image, window)
    if shown is None or image.plain:
        return {"sigma": sigma}
    return {"sigma": sigma, "window_center": shown.center, "window_width": shown.width}


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


def destroy(image: Image, key: bytes, mask: Mask, operator: str, parameters: Parameters, folder: Path) -> Made:
    """Apply an operator, write ``folder``/KEY.nii.gz once, read it again and prove it.

    Raises:
        RecordError: ``mask-too-large`` where the operator has nothing around the region to go by.
        CannotCreateError: the folder cannot be written.
        OutputError: writing failed midway.
    """
    seed, rng = stream_of(key)
    width = parameters.get("window_width")
    settings = Settings(
        sigma=float(parameters.get("sigma", 45.0)),
        unit=1.0 if width is None else float(width) / 255 / abs(image.slope),
        spacing=image.spacing or (1.0, 1.0, 1.0),
    )
    try:
        array = OPERATORS[operator](image.array, mask, rng, settings)
    except ValueError:
        raise RecordError("mask-too-large", "the region leaves nothing around it to fill it from") from None
    name = f"{key.hex()}.nii.gz"
    data = nifti.encode(image, array)
    write_once(folder / name, data)
    return Made(name, hashlib.sha256(data).hexdigest(), seed, proof.prove(image, folder / name, mask))


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
