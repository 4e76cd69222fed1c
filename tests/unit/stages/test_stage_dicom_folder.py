"""``import dicom``: cases of a clinical folder."""

import random
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import ct, dicom, dicom_bytes, slices

from medpo_cli.errors import CannotCreateError, RecordError
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.io.pseudonyms import Key
from medpo_cli.schema.records import Case, ImageRef
from medpo_cli.stages.foreign.dicom_folder import FileError, Settings, files_of, run

KEY = Key(b"k" * 32)
RADIOGRAPH = {"Modality": "DX", "WindowCenter": 100, "WindowWidth": 120}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in" / "Doe^Jane").mkdir(parents=True)
    return tmp_path / "in"


def imported(source: Path, **settings: object) -> tuple[list[Case], list[tuple[int, str, str | None]]]:
    rejects: list[tuple[int, str, str | None]] = []

    def reject(name: str | None, error: RecordError) -> None:
        assert isinstance(error, FileError)
        rejects.append((error.number, error.reason, name))

    root = source.parent / "out"
    made = list(run(source, KEY, Settings(**settings), Context(root, reject=reject)))  # type: ignore[arg-type]
    return made, rejects


def ref_of(case: Case) -> ImageRef:
    assert isinstance(case.image, ImageRef)
    return case.image


@pytest.mark.parametrize(
    "tags",
    [
        RADIOGRAPH,
        RADIOGRAPH | {"PhotometricInterpretation": "MONOCHROME1"},
        {"Modality": "DX", "PixelPaddingValue": 255},  # the percentile window leaves padding out
        {"Modality": "CT", "RescaleSlope": 2, "RescaleIntercept": -1000, "PixelSpacing": [0.5, 0.7]},
        {"Modality": "DX", "RescaleSlope": 0.5, "RescaleIntercept": 0.25},
    ],
)
def test_an_image_is_a_case_seen_as_its_source(source: Path, tags: dict[str, object]) -> None:
    path = dicom(source / "Doe^Jane" / "a.dcm", ct(SOPInstanceUID="1.5", PatientID="P1", **tags))
    (case,), rejects = imported(source)
    assert rejects == []
    name = KEY("image", "1.5")
    ref = ref_of(case)
    assert (case.id, case.group, case.task) == (name, KEY("patient", "\0P1"), "report")
    assert (ref.path, ref.frame) == (f"images/{name}.nii.gz", None)
    copy, original = read_image(source.parent / "out" / ref.path), read_image(path)
    np.testing.assert_array_equal(copy.array, original.array)
    assert copy.array.dtype == original.array.dtype
    shown = load_view(ref, Context(source.parent / "out"))
    np.testing.assert_array_equal(shown, load_view(ImageRef(path="a.dcm"), Context(path.parent)))


def test_colour_stays_colour(source: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Modality": "XC"}
    dicom(
        source / "a.dcm",
        ct(Rows=16, Columns=16, PixelData=pixels.tobytes(), BitsAllocated=8, BitsStored=8, HighBit=7, **tags),
    )
    (case,), _ = imported(source)
    np.testing.assert_array_equal(load_view(ref_of(case), Context(source.parent / "out")), pixels)


def test_groups_are_patients_and_ids_do_not_depend_on_the_folder(source: Path) -> None:
    for number, patient in enumerate(["P1", "P2", "P1"]):
        dicom(source / f"{number}.dcm", ct(SOPInstanceUID=f"1.{number}", PatientID=patient, **RADIOGRAPH))
    dicom(source / "9.dcm", ct(SOPInstanceUID="1.9", StudyInstanceUID="1.77", **RADIOGRAPH))
    first, _ = imported(source)
    groups = [case.group for case in first]
    assert groups[0] == groups[2] != groups[1]
    assert groups[3] == KEY("study", "1.77")
    (source / "0.dcm").rename(source / "Doe^Jane" / "other")
    second, _ = imported(source)
    assert {case.id for case in second} == {case.id for case in first}


def test_files_are_numbered_as_find_and_sort_do(source: Path) -> None:
    for name in ("b", "Doe^Jane/z", "a.dcm"):
        (source / name).write_text("x")
    (source / "link").symlink_to(source / "b")
    (source / "loop").symlink_to(source)
    assert [path.name for path in files_of(source)] == ["z", "a.dcm", "b"]  # "D" sorts before "a"


def test_every_bad_file_has_its_number_and_code(source: Path) -> None:
    dicom(source / "1.dcm", ct(SOPInstanceUID="1.1", **RADIOGRAPH))
    (source / "2.txt").write_text("hello")
    dicom(source / "3.dcm", ct(SOPInstanceUID="1.3", BurnedInAnnotation="YES", **RADIOGRAPH))
    dicom(source / "4.dcm", ct(SOPInstanceUID="1.4", ConversionType="WSD"))
    dicom(source / "5.dcm", ct(SOPInstanceUID="1.5", PixelData=b"\0" * 100, **RADIOGRAPH))
    dicom(source / "6.dcm", ct(SOPInstanceUID="1.1", **RADIOGRAPH))
    dicom(source / "7.dcm", ct(SOPInstanceUID=None, **RADIOGRAPH))
    (source / "DICOMDIR").write_text("hello")
    made, rejects = imported(source)
    assert [case.id for case in made] == [KEY("image", "1.1")]
    assert sorted((number, code) for number, code, _ in rejects) == [
        (2, "not-dicom"), (3, "burned-in"), (4, "secondary-capture"), (5, "truncated"), (6, "duplicate-id"),
        (7, "no-uid"),
    ]  # fmt: skip
    names = {code: name for _, code, name in rejects}
    assert names["truncated"] == KEY("image", "1.5")
    assert names["not-dicom"] == KEY("path", b"2.txt")
    allowed, rejects = imported(source, allow_burned_in=True)
    assert {case.id for case in allowed} == {KEY("image", f"1.{number}") for number in (1, 3, 4)}
    assert "burned-in" not in {code for _, code, _ in rejects}


def test_a_damaged_copy_does_not_stand_in_the_way_of_a_sound_one(source: Path) -> None:
    dicom(source / "1.dcm", ct(SOPInstanceUID="1.1", PixelData=b"\0" * 100, **RADIOGRAPH))
    dicom(source / "2.dcm", ct(SOPInstanceUID="1.1", **RADIOGRAPH))
    made, rejects = imported(source)
    assert [case.id for case in made] == [KEY("image", "1.1")]
    assert [(number, code) for number, code, _ in rejects] == [(1, "truncated")]


def test_flipped_bytes_and_cut_files_never_end_the_run(source: Path) -> None:
    for seed in range(300):
        draw = random.Random(seed)
        data = bytearray(dicom_bytes(ct(SOPInstanceUID=f"1.{seed}", PatientID="P", ImageType=["A", "B"], **RADIOGRAPH)))
        for _ in range(draw.choice([1, 3, 20])):
            data[draw.randrange(132, len(data))] = draw.randrange(256)
        cut = draw.randrange(len(data)) if draw.random() < 0.2 else len(data)
        (source / f"{seed:03}").write_bytes(data[:cut])
    made, rejects = imported(source, allow_burned_in=True)
    assert len(made) + len(rejects) == 300
    assert len({code for _, code, _ in rejects}) > 5


def test_slices_are_cases_only_when_asked(source: Path) -> None:
    for number in range(3):
        place = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        about = {"SOPInstanceUID": f"1.{number}", "SeriesInstanceUID": "1.8", "PixelSpacing": [1, 1]}
        dicom(source / f"{number}.dcm", ct(SliceThickness=1, **place, **about))
    made, _ = imported(source, slices=True)
    assert [case.id for case in made] == [KEY("image", f"1.{number}") for number in range(3)]
    made, rejects = imported(source)
    series = KEY("series", "\x001.8")
    assert rejects == []
    assert [(case.id, ref_of(case).frame) for case in made] == [(series, 1)]
    copy = read_image(source.parent / "out" / ref_of(made[0]).path)
    assert (copy.shape, copy.spacing) == ((16, 16, 3), (1, 1, 1))


def test_a_series_that_is_no_volume_is_one_reject(source: Path) -> None:
    made = slices(5)
    for number in (0, 1, 3, 4):
        dicom(source / f"{number}.dcm", made[number])
    cases, rejects = imported(source)
    assert cases == []
    assert rejects == [(1, "series-gap", KEY("series", "1.2.8\x001.2.9"))]


def test_a_marked_series_is_taken_when_allowed(source: Path) -> None:
    for number, dataset in enumerate(slices(3, BurnedInAnnotation="YES")):
        dicom(source / f"{number}.dcm", dataset)
    assert [code for _, code, _ in imported(source)[1]] == ["burned-in"] * 3
    (case,), rejects = imported(source, allow_burned_in=True)
    assert rejects == []
    assert read_image(source.parent / "out" / ref_of(case).path).shape == (12, 16, 3)


def test_a_stack_names_the_frame_to_look_at(source: Path) -> None:
    pixels = np.arange(5 * 256, dtype=np.uint16).reshape(5, 16, 16)
    dicom(source / "a.dcm", ct(pixels, Modality="US", NumberOfFrames=5))
    (case,), _ = imported(source)
    assert ref_of(case).frame == 2
    assert load_view(ref_of(case), Context(source.parent / "out")).shape == (16, 16, 3)


def test_a_volume_may_be_shown_in_other_ways(source: Path) -> None:
    pixels = np.arange(5 * 256, dtype=np.uint16).reshape(5, 16, 16)
    dicom(source / "a.dcm", ct(pixels, Modality="US", NumberOfFrames=5))
    context = Context(source.parent / "out")
    (montage,), _ = imported(source, view="montage", shown=4)
    assert ref_of(montage).montage == (0, 1, 3, 4)
    assert load_view(ref_of(montage), context).shape == (32, 32, 3)
    (mip,), _ = imported(source, view="mip")
    assert ref_of(mip).projection == "max"
    (several,), _ = imported(source, view="slices", shown=2)
    assert [ref.frame for ref in several.images] == [1, 3]


def test_copies_are_replaced_only_by_force(source: Path) -> None:
    dicom(source / "a.dcm", ct(**RADIOGRAPH))
    (case,), _ = imported(source)
    again, _ = imported(source)
    assert again == [case]
    (source.parent / "out" / ref_of(case).path).write_bytes(b"other")
    with pytest.raises(CannotCreateError):
        imported(source)
    assert imported(source, force=True)[0] == [case]
