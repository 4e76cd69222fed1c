"""A thousand files of every format: outside the region bit-identical, geometry exactly equal, and provable."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from data.imaging_files import ct, dicom, nifti, png
from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.cli.check_images import check_images
from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti as volumes
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.operators import OPERATORS
from medpo_cli.imaging.proof import same_but_values
from medpo_cli.imaging.read import read_image
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Region
from medpo_cli.stages.corrupt import run

FORMATS = ["png", "png-rgb", "png-16", "dicom", "dicom-inverted", "nii", "nii.gz", "nrrd", "mha"]
DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]
CASES = 1300
MAY_FAIL = {"no-mirror", "mask-too-large", "no-effect"}
"""What an operator may answer instead of an image: it has no other side, or nothing around it."""

seen: Counter[str] = Counter()


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A bright textured middle on a dark edge, so that there is a body, near the limits of the type."""
    kind = np.dtype(dtype)
    low, high = (-2000.0, 3000.0) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    low, high = max(low, -(2.0**20)), min(high, 2.0**20)
    array = low + (high - low) * rng.uniform(0.3, 1, shape)
    array[:2] = array[-2:] = low
    return array.astype(kind)


def affine_of(rng: np.random.Generator) -> np.ndarray:
    """A random orientation: axes permuted and mirrored, tilted, of uneven size."""
    turn, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.1, (3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn[:, rng.permutation(3)] * rng.choice([-1, 1], 3) * rng.uniform(0.3, 4, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine.astype(np.float32).astype(np.float64)


def write(folder: Path, kind: str, rng: np.random.Generator, dtype: str) -> str:
    """One file of a format; its name."""
    width, height, depth = (int(size) for size in rng.integers((14, 14, 1), (26, 26, 6)))
    name = f"image.{kind.split('-')[0]}"
    path = folder / name
    if kind.startswith("png"):
        shape = (height, width, 3) if kind == "png-rgb" else (height, width)
        png(path, values(rng, shape, "u2" if kind == "png-16" else "u1"))
    elif kind.startswith("dicom"):
        pixels = values(rng, (height, width), str(rng.choice(["u1", "u2", "i2"])))
        tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "PixelSpacing": [0.5, 0.75]}
        extra = {"PhotometricInterpretation": "MONOCHROME1"} if kind == "dicom-inverted" else {}
        dicom(path, ct(pixels, **tags, **extra))
    elif kind.startswith("nii"):
        nifti(path, values(rng, (width, height, depth), dtype), affine_of(rng))
    else:
        image = sitk.GetImageFromArray(values(rng, (depth, height, width), dtype))
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        image.SetDirection((turn * np.sign(np.linalg.det(turn))).ravel().tolist())
        image.SetSpacing(rng.uniform(0.3, 4, 3).tolist())
        image.SetOrigin(rng.uniform(-200, 200, 3).tolist())
        sitk.WriteImage(image, str(path), useCompression=bool(rng.integers(2)))
    return name


def region_of(rng: np.random.Generator, image: Image) -> np.ndarray:
    """A few specks or a block, on one slice or on several."""
    mask = np.zeros(image.shape, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, y, z = (int(rng.integers(2, size - 2)) if size > 5 else int(rng.integers(size)) for size in image.shape)
        mask[x : x + int(rng.integers(2, 5)), y : y + int(rng.integers(2, 5)), z : z + int(rng.integers(1, 3))] = 1
    return mask


@settings(max_examples=CASES, deadline=None, derandomize=True)
@given(st.sampled_from(FORMATS), st.sampled_from(DTYPES), st.sampled_from(sorted(OPERATORS)), st.integers(0, 2**32 - 1))
def one_file(kind: str, dtype: str, operator: str, seed: int) -> None:
    """Corrupt one file, compare and check it."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder, kind, rng, dtype)
        source = read_image(folder / path)
        mask = region_of(rng, source)
        nifti(folder / "mask.nii.gz", mask, source.affine)
        frame = int(np.flatnonzero(mask.any(axis=(0, 1)))[0]) if source.shape[2] > 1 else None
        region = Region(label="x", mask=MaskRef(path="mask.nii.gz"))
        record = Case(id="c", image=ImageRef(path=path, frame=frame), prompt="p", task="report", regions=[region])
        config = CorruptConfig(
            operator=operator,
            grow=(None, 0, 1)[seed // 7 % 3],
            feather=seed % 3,
            model_side=16,
            patch=2,
            sigma_at="model",
        )  # type: ignore[call-arg]
        try:
            (done,) = run([record], config, Context(folder))
        except RecordError as error:
            assert error.reason in MAY_FAIL, error.reason  # noqa: PT017
            seen["refused"] += 1
            return
        if done.corrupted is None:
            seen["above two fifths"] += 1
            return
        for made in (done.corrupted, done.control):
            if made is None:
                seen["no control"] += 1
                continue
            result = volumes.decode((folder / made.image.path).read_bytes())
            assert same_but_values(source, result)
            box = made.region.box
            assert box is not None
            outside = np.ones(source.shape, bool)
            outside[tuple(slice(box[axis], box[axis + 3]) for axis in range(3))] = False
            assert source.array[outside].tobytes() == result.array[outside].tobytes()
            if source.affine is not None:
                assert result.affine is not None
                assert source.affine.tobytes() == result.affine.tobytes()
        problems: list[RecordError] = []
        check_images(done, Context(folder, reject=lambda _name, error: problems.append(error)))
        assert not problems, [(problem.reason, problem.path) for problem in problems]
        seen["proved"] += 1


def test_nothing_outside_the_region_ever_changes() -> None:
    seen.clear()
    one_file()
    assert seen["proved"] >= 1000, seen
