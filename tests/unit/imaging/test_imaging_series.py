"""A folder of slices: one volume in its place, or a code. Rows 25 and 26 of the bad-input table."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import ct, dicom, series, slices
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.read import open_source, read_image
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.schema.records import ImageRef

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
Change = Callable[[list[FileDataset]], object]


def reason(folder: Path) -> str:
    with pytest.raises(RecordError) as caught:
        read_image(folder, field="$.image")
    assert caught.value.path == "$.image"
    if caught.value.reason != "too-large":  # which names the limit
        assert not any(char.isdigit() and char not in "1" for char in caught.value.message)  # only "1 %"
    return caught.value.reason


@pytest.mark.parametrize("plane", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE, (-1, 0, 0, 0, 1, 0)])
def test_slices_become_a_volume_with_the_affine_of_their_positions(tmp_path: Path, plane: tuple[float, ...]) -> None:
    image = read_image(series(tmp_path / "s", slices(plane=plane)))
    assert image.shape == (12, 16, 8)
    np.testing.assert_array_equal(image.array, np.broadcast_to(np.arange(8) - 1024, (12, 16, 8)))
    assert image.array.dtype == np.int16
    assert not image.array.flags.writeable
    normal = np.cross(plane[:3], plane[3:])
    lps = np.column_stack([np.array(plane[:3]) * 0.7, np.array(plane[3:]) * 0.8, normal * 2.5, [-10.5, -20.25, 30]])
    expected = np.vstack([np.diag([-1, -1, 1]) @ lps, [0, 0, 0, 1]])
    np.testing.assert_array_equal(image.affine, expected.astype(np.float32))
    assert image.spacing == pytest.approx((0.7, 0.8, 2.5))
    copy = nifti.decode(nifti.encode(image, image.array))
    np.testing.assert_array_equal(copy.affine, image.affine)
    np.testing.assert_array_equal(copy.array, image.array)


def test_neither_names_nor_instance_numbers_nor_copies_of_a_folder_matter(tmp_path: Path) -> None:
    made = slices()
    one = open_source(series(tmp_path / "a", made))
    two = open_source(series(tmp_path / "b", made[::-1]))
    np.testing.assert_array_equal(one.image.array, two.image.array)
    np.testing.assert_array_equal(one.image.affine, two.image.affine)
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "a").iterdir())
    assert one.sha256 == two.sha256 == hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    made = slices(3, Modality="PT")
    for dataset, slope in zip(made, (0.5, 1.5, 2.5), strict=True):
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 0
    image = read_image(series(tmp_path / "s", made))
    assert image.array.dtype == np.float32
    assert image.array[0, 0].tolist() == [0.0, 1.5, 5.0]


def test_slices_of_different_types_meet_without_loss(tmp_path: Path) -> None:
    made = slices(3)
    made[1].RescaleIntercept = 40_000  # leaves int16
    image = read_image(series(tmp_path / "s", made))
    assert image.array[0, 0].tolist() == [-1024, 40_001, -1022]


def test_padding_of_one_slice_is_kept_in_its_place(tmp_path: Path) -> None:
    made = slices(4)
    for dataset in made:
        dataset.add_new("PixelPaddingValue", "US", 2)
    padding = read_image(series(tmp_path / "s", made)).padding
    assert padding is not None
    assert padding.all(axis=(0, 1)).tolist() == [False, False, True, False]
    assert not padding[:, :, [0, 1, 3]].any()


def test_colour_and_compressed_slices_are_read(tmp_path: Path) -> None:
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 12, 3), dtype=np.uint8)
    made = slices(3, BitsStored=8, HighBit=7, **rgb)
    for dataset, plane in zip(made, pixels, strict=True):
        dataset.PixelData = plane.tobytes()
    image = read_image(series(tmp_path / "rgb", made))
    np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0, 3))
    made = slices(3)
    for dataset in made:
        dataset.compress(RLELossless)
    assert read_image(series(tmp_path / "rle", made)).array[0, 0].tolist() == [-1024, -1023, -1022]


def test_one_file_alone_is_that_file(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", slices(1))
    (path,) = folder.iterdir()
    (folder / "DICOMDIR").write_text("index")
    (folder / ".hidden").write_text("x")
    np.testing.assert_array_equal(read_image(folder).array, read_image(path).array)
    np.testing.assert_array_equal(read_image(folder).affine, read_image(path).affine)


def test_a_record_may_name_a_folder_and_its_hash(tmp_path: Path) -> None:
    source = open_source(series(tmp_path / "s", slices()))
    ref = ImageRef(path="s", sha256=source.sha256, frame=3)
    assert load_view(ref, Context(tmp_path)).shape == (16, 12, 3)
    dicom(tmp_path / "s" / "0-0.dcm", slices(RescaleIntercept=5)[0])
    with pytest.raises(RecordError) as caught:
        load_view(ref, Context(tmp_path))
    assert caught.value.reason == "sha256-mismatch"


def move(index: int, *by: float) -> Change:
    def change(made: list[FileDataset]) -> None:
        position = np.array(made[index].ImagePositionPatient, float) + by
        made[index].ImagePositionPatient = position.tolist()

    return change


def tilt(made: list[FileDataset]) -> None:
    for k, dataset in enumerate(made):
        dataset.ImagePositionPatient = [0, round(k * 2.5 * np.tan(np.radians(15)), 6), 2.5 * k]


def jitter(made: list[FileDataset]) -> None:
    rng = np.random.default_rng(0)
    for k, dataset in enumerate(made):
        dataset.ImagePositionPatient = [0, 0, round(2.5 * k + rng.normal(0, 0.05), 6)]


def tags(index: int, **values: object) -> Change:
    def change(made: list[FileDataset]) -> None:
        for name, value in values.items():
            setattr(made[index], name, value)

    return change


def smaller(made: list[FileDataset]) -> None:
    made[3].Rows, made[3].PixelData = 8, bytes(2 * 8 * 12)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("series-gap", lambda made: made.pop(4)),
        ("series-gap", lambda made: made.pop(1)),
        ("series-duplicate", move(4, 0, 0, -2.5)),
        ("series-duplicate", lambda made: made.extend(slices())),
        ("series-tilt", tilt),
        ("series-jitter", jitter),
        ("series-jitter", move(4, 0.5, 0, 0)),
        ("series-jitter", move(7, 0, 0, 0.03)),
        ("series-mixed", tags(5, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])),
        ("series-mixed", tags(5, ImageOrientationPatient=[1, 0, 0, 0, 0.9998, 0.02])),
        ("series-mixed", smaller),
        ("series-mixed", tags(0, PixelSpacing=[0.8, 0.8])),
        ("series-mixed", tags(0, FrameOfReferenceUID="1.2.77")),
        ("series-mixed", tags(0, Modality="MR")),
        ("series-mixed", tags(0, PhotometricInterpretation="MONOCHROME1")),
        ("series-mixed", tags(0, NumberOfFrames=2)),
        ("series-unplaced", tags(2, ImagePositionPatient=None)),
        ("series-unplaced", tags(0, PixelSpacing=[0, 0])),
        ("series-ambiguous", tags(2, SeriesInstanceUID="1.2.99")),
        ("series-ambiguous", lambda made: made.extend(slices(SeriesInstanceUID="1.2.99"))),
        ("bad-tag", lambda made: [tags(k, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])(made) for k in range(8)]),
        ("burned-in", tags(2, BurnedInAnnotation="YES")),
        ("truncated", tags(2, PixelData=bytes(50))),
        ("too-large", lambda made: [tags(k, Rows=65535, Columns=65535)(made) for k in range(8)]),
    ],
)
def test_rows_25_and_26_what_is_no_volume_has_its_code(tmp_path: Path, code: str, change: Change) -> None:
    made = slices()
    change(made)
    assert reason(series(tmp_path / "s", made)) == code


@pytest.mark.parametrize(("by", "read"), [((0, 0, 0.024), True), ((0.009, 0, 0), True), ((0.011, 0, 0), False)])
def test_steps_may_deviate_as_much_as_written(tmp_path: Path, by: tuple[float, ...], read: bool) -> None:
    made = slices()
    move(7, *by)(made)
    folder = series(tmp_path / "s", made)
    if not read:
        assert reason(folder) == "series-jitter"
        return
    affine = read_image(folder).affine
    assert affine is not None
    assert affine[2, 2] == pytest.approx(2.5 + by[2] / 7)  # the ends lie where the files say


def test_all_headers_are_judged_before_any_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = slices()
    made.pop(4)
    folder = series(tmp_path / "s", made)
    monkeypatch.setattr("medpo_cli.imaging.dicom.decode", lambda data: pytest.fail("pixels were decoded"))
    assert reason(folder) == "series-gap"


def test_a_folder_that_is_no_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert reason(tmp_path / "empty") == "not-dicom"
    folder = series(tmp_path / "s", slices())
    (folder / "deeper").mkdir()
    assert reason(folder) == "not-regular"
    (folder / "deeper").rmdir()
    (folder / "link.dcm").symlink_to(dicom(tmp_path / "outside.dcm", ct()))
    assert reason(folder) == "not-regular"
    (folder / "link.dcm").unlink()
    (folder / "notes.txt").write_text("hello")
    assert reason(folder) == "not-dicom"
    (folder / "notes.txt").write_bytes(b"")
    assert reason(folder) == "empty-file"


def test_an_unchanged_folder_is_decoded_once(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", slices())
    first = open_source(folder)
    assert open_source(folder) is first
    sorted(folder.iterdir())[0].unlink()  # the slice at one end: what is left is a volume
    assert open_source(folder).image.shape[2] == first.image.shape[2] - 1
