"""Whatever the type, grid and region: what is written is what was there, and only the region changes."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.corruption import destroy
from medpo_cli.imaging.geometry import from_picture, to_picture
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.imaging.operators import OPERATORS
from medpo_cli.imaging.window import view

DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
NUMBERS = st.floats(-300, 300, width=32)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray | None:
    """Any invertible float32 affine: permuted, mirrored, oblique, sheared; or none."""
    if draw(st.integers(0, 4)) == 0:
        return None
    signs = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    sizes = np.diag(draw(st.tuples(*[st.floats(0.125, 8, width=32)] * 3)))
    tilt = draw(arrays.arrays(np.float64, (3, 3), elements=st.floats(-0.2, 0.2)))
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(draw(st.permutations(range(3))))] @ signs @ (np.eye(3) + tilt) @ sizes
    affine[:3, 3] = draw(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    return affine.astype(np.float32).astype(np.float64)


@st.composite
def images(draw: st.DrawFn) -> Image:
    shape = draw(st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 5)))
    colour = draw(st.booleans()) and draw(st.booleans())
    dtype = np.dtype("u1" if colour else draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    full = (*shape, 3) if colour else shape
    if dtype.kind == "f":
        array = rng.normal(0, 1e3, full).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        array = rng.integers(max(limits.min, -(2**40)), min(limits.max, 2**40), full).astype(dtype)
    affine = draw(affines())
    spacing = draw(st.sampled_from([None, (0.5, 0.25, 2.0)])) if affine is None else None
    scale = draw(st.sampled_from([(1.0, 0.0), (0.5, -3.0), (-2.0, 1.0)])) if not colour else (1.0, 0.0)
    return Image(
        array=frozen(array), kind="nifti", affine=affine, spacing=spacing, slope=scale[0], inter=scale[1],
        frames=affine is None and shape[2] > 1, inverted=not colour and draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(images())
def test_writing_then_reading_gives_the_same_image_and_view(image: Image) -> None:
    data = nifti.encode(image, image.array)
    again = nifti.decode(data)
    assert again.array.dtype == image.array.dtype
    np.testing.assert_array_equal(again.array, image.array)
    assert (again.affine is None) == (image.affine is None)
    if image.affine is not None:
        np.testing.assert_array_equal(again.affine, image.affine)
    else:
        assert again.spacing == image.spacing
    assert (again.slope, again.inter, again.inverted, again.frames) == (
        image.slope, image.inter, image.inverted, image.frames
    )  # fmt: skip
    np.testing.assert_array_equal(view(again, frame=0), view(image, frame=0))
    assert nifti.encode(again, again.array) == nifti.encode(nifti.decode(data), image.array)


@settings(max_examples=300, deadline=None)
@given(images(), st.sampled_from(sorted(OPERATORS)), st.integers(0, 2**32), st.booleans())
def test_outside_of_a_region_is_bit_identical_in_the_file(image: Image, operator: str, seed: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(image.shape) < 0.3
    if flat:
        mask[:, :, 1:] = False
    mask[1:3, 1:3, 0] = True
    mask[0, 0] = False
    with tempfile.TemporaryDirectory() as folder:
        parameters = {"axis": 0, "total": image.shape[0] - 1, "patch": 2.0, "feather": int(seed % 3)}
        try:
            made = destroy(image, rng.bytes(16), mask, operator, parameters, Path(folder))
        except RecordError as error:
            assert error.reason == "mask-too-large"  # noqa: PT017
            assert not list(Path(folder).iterdir())
            return
        again = nifti.decode((Path(folder) / made.name).read_bytes())
    assert again.array[~mask].tobytes() == image.array[~mask].tobytes()
    assert again.array.dtype == image.array.dtype
    assert made.proof.voxels == mask.sum()


@settings(max_examples=200, deadline=None)
@given(affines(), st.integers(1, 6), st.integers(1, 6))
def test_a_picture_can_be_taken_back_to_its_voxels(affine: np.ndarray | None, width: int, height: int) -> None:
    plane = np.arange(width * height).reshape(width, height)
    np.testing.assert_array_equal(from_picture(to_picture(plane, affine), affine), plane)
