"""The bad-input matrix of 54 rows: which test holds each, and the rows that no other file holds.

Where the survey's name of a code and ours differ, the row says so.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from data.imaging_files import RIGHT_ANTERIOR, ct, dicom, dicom_bytes, nifti, png
from PIL import Image as Pillow

from medpo_cli.errors import RecordError
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask
from medpo_cli.io.context import Context
from medpo_cli.io.stream import decode as decode_record
from medpo_cli.schema.records import Case, MaskRef, Region

TESTS = Path(__file__).parents[2]
READ, DICOM, NIFTI = (f"unit/imaging/test_imaging_{name}.py::" for name in ("read", "dicom", "nifti"))
RASTER, SERIES, REGIONS = (f"unit/imaging/test_imaging_{name}.py::" for name in ("raster", "series", "regions"))
HERE = "unit/imaging/test_imaging_matrix.py::"
FAULTS, NO_IMAGE = DICOM + "test_faults_have_their_code", READ + "test_what_is_no_image_has_its_code"
HEADERS, NO_MASK = NIFTI + "test_header_faults_have_their_code", REGIONS + "test_what_is_no_mask_has_its_code"

ROWS: dict[int, tuple[str, ...]] = {
    1: (NO_IMAGE,),
    2: (NO_IMAGE,),
    3: (DICOM + "test_data_set_without_preamble_or_transfer_syntax_is_read",),
    4: (DICOM + "test_data_set_without_preamble_or_transfer_syntax_is_read",),
    5: (FAULTS,),
    6: (FAULTS,),
    7: (FAULTS,),
    8: (FAULTS,),
    9: (FAULTS,),
    10: (FAULTS,),
    11: (FAULTS,),
    12: (FAULTS,),
    13: (DICOM + "test_a_run_length_bomb_is_refused_by_its_header",),
    14: (FAULTS,),
    15: (FAULTS,),
    16: (HERE + "test_row_16_a_value_longer_than_the_file",),
    17: (DICOM + "test_a_bad_slope_is_refused",),
    18: (DICOM + "test_window_width_zero_falls_back_to_percentiles",),
    19: (FAULTS,),
    20: (HERE + "test_row_20_objects_that_are_no_image",),
    21: (FAULTS,),
    22: (DICOM + "test_polyglot_preamble_is_read",),
    23: (DICOM + "test_no_tag_value_reaches_a_message_a_warning_a_log_or_the_copy",),
    24: ("cli/test_cli_import_dicom.py::", "pipeline/test_planted_words.py::"),
    25: (SERIES + "test_rows_25_and_26_what_is_no_volume_has_its_code",),
    26: (SERIES + "test_rows_25_and_26_what_is_no_volume_has_its_code",),
    27: ("property/test_imaging_fuzz.py::test_many_damaged_files_are_refused_in_time",),
    28: (HERE + "test_row_28_a_panic_of_a_decoder",),
    29: (NIFTI + "test_half_a_file_is_truncated_plain_and_zipped",),
    30: (NIFTI + "test_any_flipped_byte_of_the_gzip_body_is_noticed",),
    31: (
        NIFTI + "test_garbage_after_gzip_and_a_bomb_are_refused",
        READ + "test_nrrd_and_mha_keep_geometry_and_refuse_damage",
    ),
    32: (
        NIFTI + "test_garbage_after_gzip_and_a_bomb_are_refused",
        "unit/imaging/test_imaging_bombs.py::test_more_than_declared_costs_no_memory",
    ),
    33: (HEADERS,),
    34: (HEADERS,),
    35: (HEADERS,),
    36: (HEADERS,),
    37: (NIFTI + "test_a_sheared_affine_survives",),
    38: (READ + "test_a_sibling_with_the_same_stem_is_not_read",),
    39: (HEADERS, NIFTI + "test_colour_is_rgb24_as_other_readers_know_it"),
    40: (NIFTI + "test_non_finite_voxels_are_refused",),
    41: (NO_IMAGE,),
    42: ("unit/io/test_io_rest.py::test_paths_stay_under_the_root",),
    43: (
        READ + "test_folders_pipes_and_devices_are_refused_at_once",
        READ + "test_a_file_without_permission_is_unreadable",
    ),
    44: (RASTER + "test_bombs_are_refused_before_pixels",),
    45: (
        RASTER + "test_sixteen_bits_keep_their_values_and_are_windowed",
        RASTER + "test_modes_become_grey_or_rgb",
        RASTER + "test_palette_and_cmyk_become_rgb",
    ),
    46: (RASTER + "test_turned_pictures_and_animations_are_refused",),
    47: (
        RASTER + "test_turned_pictures_and_animations_are_refused",
        RASTER + "test_tiff_colour_stacks_and_deep_pixels",
    ),
    48: (HERE + "test_row_48_half_a_jpeg",),
    49: (NO_MASK, HERE + "test_row_49_a_mask_of_everything"),
    50: (NO_MASK, REGIONS + "test_a_shifted_affine_is_another_grid"),
    51: (
        NO_MASK,
        REGIONS + "test_smoothed_png_and_jpeg_are_not_masks",
        REGIONS + "test_value_selects_a_label_and_the_default_is_any",
    ),
    52: (HERE + "test_row_52_ids", "unit/io/test_io_stream.py::test_wrong_kind_and_duplicate_id"),
    53: (
        "unit/imaging/test_imaging_corruption.py::test_a_full_disk_leaves_no_file",
        "unit/imaging/test_imaging_corruption.py::test_a_read_only_folder_cannot_be_created_in",
        "cli/test_cli_every_stage.py::test_74_a_full_disk_and_the_run_goes_on_when_there_is_room",
        "pipeline/test_kills_of_stages.py::",
    ),
    54: ("unit/models/test_models_hostile.py::test_pickles_are_refused_and_never_unpickled",),
}


def test_every_row_has_a_test_that_is_there() -> None:
    assert sorted(ROWS) == list(range(1, 55))
    for row, names in ROWS.items():
        for name in names:
            file, _, function = name.partition("::")
            assert f"def {function or 'test_'}" in (TESTS / file).read_text(), row


def reason(path: Path) -> str:
    with pytest.raises(RecordError) as caught:
        read_image(path)
    return caught.value.reason


def test_row_16_a_value_longer_than_the_file(tmp_path: Path) -> None:
    whole = dicom_bytes(ct(ImageComments="x" * 8))
    at = whole.index(b"\x20\x00\x00\x40LT")
    broken = whole[: at + 4] + b"UT\0\0\xf0\xff\xff\xff" + whole[at + 8 :]
    (tmp_path / "a.dcm").write_bytes(broken)
    # The value swallows the rest, Rows among it; pydicom reads it as the end of the file.
    assert reason(tmp_path / "a.dcm") in ("dicom-parse", "not-image")


@pytest.mark.parametrize(
    "kind", ["1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.104.1"]
)
def test_row_20_objects_that_are_no_image(kind: str, tmp_path: Path) -> None:
    pixels = (
        "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PixelData",
    )  # fmt: skip
    nothing: dict[str, Any] = dict.fromkeys(pixels)
    assert reason(dicom(tmp_path / "a.dcm", ct(**nothing, SOPClassUID=kind))) == "not-image"


def test_row_28_a_panic_of_a_decoder(tmp_path: Path) -> None:
    """Flipped bytes of run lengths: pydicom's decoders fail each in its own way, one file after the other."""
    whole = bytearray((Path(pydicom.__file__).parent / "data/test_files/MR_small_RLE.dcm").read_bytes())
    seen = set()
    for seed in range(12):
        data = whole.copy()
        for position in np.random.default_rng(seed).integers(1300, len(data), 8):
            data[position] ^= 0xFF
        (tmp_path / "a.dcm").write_bytes(data)
        try:
            read_image(tmp_path / "a.dcm")
        except RecordError as error:
            seen.add(error.reason)
    assert seen <= {"decode", "shape-mismatch", "dicom-parse", "no-pixels", "truncated", "bad-tag"}
    assert "decode" in seen


def test_row_48_half_a_jpeg(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Pillow.fromarray(noise).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert reason(tmp_path / "a.jpg") == "decode"


def test_row_49_a_mask_of_everything(tmp_path: Path) -> None:
    """It is a sound region, and too large for what it is to be used for."""
    from medpo_cli.schema.config import CorruptConfig
    from medpo_cli.stages.corrupt import run

    image = np.random.default_rng(0).integers(60, 90, (32, 32), dtype=np.uint8)
    png(tmp_path / "x.png", image)
    png(tmp_path / "m.png", np.full((32, 32), 255, np.uint8))
    region = Region(label="nodule", mask=MaskRef(path="m.png"))
    mask = region_mask(region, read_image(tmp_path / "x.png"), Context(tmp_path), None, "$.regions[0]")
    assert mask.all()
    record = decode_record(
        b'{"schema":"medpo.case/1","id":"a","image":{"path":"x.png"},"prompt":"p","task":"report",'
        b'"regions":[{"label":"nodule","mask":{"path":"m.png"}}]}'
    )
    assert isinstance(record, Case)
    (done,) = run([record], CorruptConfig(), Context(tmp_path))
    assert done.corrupted is None, "left alone and counted: MAX_FRACTION of regions"


@pytest.mark.parametrize("identifier", ["a/b", "..\\/x", "x" * 300, "", "a b", "a\\n"])
def test_row_52_ids(identifier: str) -> None:
    case = '{"schema":"medpo.case/1","id":"?","image":{"path":"x.png"},"prompt":"p","task":"report"}'
    line = case.replace("?", identifier)
    with pytest.raises(RecordError) as caught:
        decode_record(line)
    assert (caught.value.reason, caught.value.path) == ("bad-record", "$.id")


def test_a_sound_file_passes_the_same_door(tmp_path: Path) -> None:
    """Or else every test above could pass for the wrong reason."""
    assert read_image(dicom(tmp_path / "a.dcm", ct())).shape == (16, 16, 1)
    assert read_image(nifti(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.int16), RIGHT_ANTERIOR)).shape == (3, 4, 5)
