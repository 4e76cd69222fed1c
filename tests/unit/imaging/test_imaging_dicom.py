"""DICOM: the order of work, each value transform once, and a code for each fault; no tag value in a message."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from data.imaging_files import ct, dicom, dicom_bytes
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, RLELossless

from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti
from medpo_cli.imaging.dicom import decode
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.window import view
from medpo_cli.schema.records import Window

GRID = {
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-10.5, -20.25, 30],
    "PixelSpacing": [0.8, 0.7], "SliceThickness": 5,
}  # fmt: skip


def reason(data: bytes) -> str:
    with pytest.raises(RecordError) as caught:
        decode(data)
    return caught.value.reason


def item(**tags: object) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def test_stored_values_and_axes() -> None:
    image = decode(dicom_bytes(ct()))
    assert image.array[3, 0, 0] == 3  # column 3 of row 0
    assert image.array[0, 1, 0] == 16  # column 0 of row 1
    assert image.modality == "CT"
    assert image.affine is None


def test_pixel_spacing_is_row_then_column_and_lps_becomes_ras() -> None:
    image = decode(dicom_bytes(ct(**GRID)))
    np.testing.assert_allclose(image.affine, [[-0.7, 0, 0, 10.5], [0, -0.8, 0, 20.25], [0, 0, 5, 30], [0, 0, 0, 1]])
    assert image.spacing == pytest.approx((0.7, 0.8, 5))
    again = nifti.decode(nifti.encode(image, image.array))
    np.testing.assert_array_equal(again.affine, image.affine)


def test_detector_spacing_is_used_where_there_is_no_other() -> None:
    image = decode(dicom_bytes(ct(Modality="DX", ImagerPixelSpacing=[0.5, 0.25])))
    assert image.spacing == (0.25, 0.5, 1.0)
    assert image.affine is None


def test_integral_rescale_gives_integers_and_fractions_float() -> None:
    image = decode(dicom_bytes(ct(RescaleSlope=2, RescaleIntercept=-1024)))
    assert image.array.dtype == np.int16
    assert image.array[5, 0, 0] == 5 * 2 - 1024
    image = decode(dicom_bytes(ct(RescaleSlope=0.5, RescaleIntercept=1)))
    assert image.array.dtype == np.float32
    assert image.array[5, 0, 0] == 3.5


@pytest.mark.parametrize("slope", [b"NaN ", b"0 ", b"abc ", b"inf "])
def test_a_bad_slope_is_refused(slope: bytes) -> None:
    data = dicom_bytes(ct(RescaleIntercept=0, RescaleSlope=7777))
    assert reason(data.replace(b"7777", slope.ljust(4))) == "bad-rescale"


def test_modality_lut_is_applied() -> None:
    lut = item(LUTDescriptor=[256, 0, 16], LUTData=[1000 + value for value in range(256)], ModalityLUTType="HU")
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
    image = decode(dicom_bytes(ct(ModalityLUTSequence=Sequence([lut]))))
    assert image.array[7, 0, 0] == 1007


def test_functional_groups_give_rescale_window_and_place() -> None:
    frames = np.arange(3 * 256, dtype=np.uint16).reshape(3, 16, 16)
    shared = item(
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=1, RescaleIntercept=-100)]),
        FrameVOILUTSequence=Sequence([item(WindowCenter=50, WindowWidth=101)]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[2, 1], SliceThickness=9)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
    )
    places = [item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[0, 0, 3 * z])])) for z in range(3)]
    dataset = ct(
        frames, NumberOfFrames=3, SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(places),
    )  # fmt: skip
    image = decode(dicom_bytes(dataset))
    assert image.array[0, 0, 2] == 512 - 100
    assert image.window == Window(center=49.5, width=100)
    assert image.spacing == (1, 2, 3)
    assert not image.frames
    places[2].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 7]  # a gap: no volume, but still frames
    image = decode(dicom_bytes(dataset))
    assert image.affine is None
    assert image.frames


def test_window_is_linear_as_dicom_defines_it_and_several_are_allowed() -> None:
    image = decode(dicom_bytes(ct(WindowCenter=[100, 50], WindowWidth=[201, 10])))
    # PS3.3 C.11.2.1.2.1: x <= c - 0.5 - (w - 1)/2 = -0.5 is black, x > 199.5 white.
    assert image.window == Window(center=99.5, width=200)
    shown = view(image)[:, :, 0]
    assert shown[0, 0] == round(0.5 / 200 * 255)
    assert shown[200 // 16, 200 % 16] == 255
    exact = decode(dicom_bytes(ct(WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")))
    assert exact.window == Window(center=100, width=200)


def test_window_width_zero_falls_back_to_percentiles() -> None:
    image = decode(dicom_bytes(ct(WindowCenter=100, WindowWidth=0)))
    assert image.window is None
    assert view(image).max() == 255


def test_voi_lut_becomes_the_range_over_which_it_rises() -> None:
    ramp = np.clip((np.arange(256) - 100) * 10, 0, 1000).astype(int).tolist()  # rises from 100 to 200
    lut = item(LUTDescriptor=[256, 0, 16], LUTData=ramp)
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
    window = decode(dicom_bytes(ct(VOILUTSequence=Sequence([lut])))).window
    assert window is not None
    assert window.center == pytest.approx(150, abs=1)
    assert window.width == pytest.approx(100, abs=3)


def test_monochrome1_is_inverted_exactly_once() -> None:
    tags = {"WindowCenter": 128, "WindowWidth": 256}
    normal = decode(dicom_bytes(ct(**tags)))
    inverted = decode(dicom_bytes(ct(PhotometricInterpretation="MONOCHROME1", **tags)))
    np.testing.assert_array_equal(inverted.array, normal.array)
    np.testing.assert_array_equal(view(inverted), 255 - view(normal))
    copy = nifti.decode(nifti.encode(inverted, inverted.array))
    np.testing.assert_array_equal(view(copy, window=inverted.window), view(inverted))


def test_padding_comes_from_stored_values_and_is_left_out_of_the_window() -> None:
    pixels = np.full((16, 16), 1000, np.int16)
    pixels[:4] = -2000
    pixels[8:] = 1100
    dataset = ct(pixels, RescaleSlope=1, RescaleIntercept=-1000)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    image = decode(dicom_bytes(dataset))
    assert image.padding is not None
    assert image.padding[:, :4].all()
    assert not image.padding[:, 4:].any()
    shown = view(image)[:, 0, 0]
    assert shown.tolist() == [0] * 8 + [255] * 8  # 0 to 100 HU, not -3000 to 100


def test_palette_and_ybr_become_rgb() -> None:
    dataset = ct(np.arange(256, dtype=np.uint8).reshape(16, 16), PhotometricInterpretation="PALETTE COLOR")
    for colour, values in (("Red", 1), ("Green", 2), ("Blue", 0)):
        table = (np.arange(256, dtype=np.uint16) * 256 * (values > 0)) // max(values, 1)
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.astype("<u2").tobytes())
    assert decode(dicom_bytes(dataset)).array[8, 0, 0].tolist() == [8, 4, 0]
    grey = np.full((16, 16, 3), 128, np.uint8)
    grey[..., 0] = 50
    dataset = ct(
        grey[..., 0], PhotometricInterpretation="YBR_FULL", SamplesPerPixel=3, PlanarConfiguration=0,
        PixelData=grey.tobytes(),
    )  # fmt: skip
    assert decode(dicom_bytes(dataset)).array[3, 3, 0].tolist() == [50, 50, 50]


def test_data_set_without_preamble_or_transfer_syntax_is_read(tmp_path: Path) -> None:
    expected = decode(dicom_bytes(ct()))
    bare = io.BytesIO()
    dataset = ct()
    del dataset.file_meta.TransferSyntaxUID
    dataset.preamble = None
    pydicom.dcmwrite(bare, dataset, implicit_vr=False, little_endian=True)
    (tmp_path / "bare").write_bytes(bare.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / "bare").array, expected.array)


def test_polyglot_preamble_is_read() -> None:
    assert decode(b"MZ" + dicom_bytes(ct())[2:]).shape == (16, 16, 1)


def test_rle_is_decoded() -> None:
    dataset = ct()
    dataset.compress(RLELossless)
    np.testing.assert_array_equal(decode(dicom_bytes(dataset)).array, decode(dicom_bytes(ct())).array)


def _string_of_frames() -> bytes:
    return dicom_bytes(ct(NumberOfFrames=77)).replace(b"IS\x02\x0077", b"IS\x02\x001A")


def _syntax(uid: str) -> bytes:
    data = dicom_bytes(ct())
    return data.replace(b"1.2.840.10008.1.2.1\0", uid.ljust(20, "\0").encode())


def _compressed() -> bytes:
    dataset = ct(PixelData=encapsulate([b"nonsense"]))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    return dicom_bytes(dataset)


def _nested(depth: int) -> bytes:
    opening = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    head = dicom_bytes(ct())
    start = head.index(struct.pack("<HH2s", 0x0008, 0x0016, b"UI"))
    return head[:start] + opening * depth


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("truncated", dicom_bytes(ct(PixelData=bytes(100)))),
        ("shape-mismatch", dicom_bytes(ct(PixelData=bytes(512 + 1000)))),
        ("no-pixels", dicom_bytes(ct(PixelData=None))),
        ("not-image", dicom_bytes(ct(Rows=None, Columns=None, PixelData=None))),
        ("too-large", dicom_bytes(ct(Rows=65535, Columns=65535))),
        ("too-large", dicom_bytes(ct(NumberOfFrames=2_000_000_000))),
        ("bad-tag", _string_of_frames()),
        ("bad-tag", dicom_bytes(ct(Rows=0))),
        ("bad-tag", dicom_bytes(ct(PhotometricInterpretation="FOO"))),
        ("bad-tag", dicom_bytes(ct(BitsStored=17))),
        ("bad-tag", dicom_bytes(ct(SamplesPerPixel=3))),
        ("bad-tag", dicom_bytes(ct(**(GRID | {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]})))),
        ("burned-in", dicom_bytes(ct(BurnedInAnnotation="YES"))),
        ("unsupported-syntax", _syntax("1.2.3.4.5")),
        ("unsupported-syntax", _syntax("1.2.840.10008.1.2.1.99")),
        ("unsupported-syntax", _syntax("1.2.840.10008.1.2.4.102")),
        ("decode", _compressed()),
        ("dicom-parse", _nested(20_000)),
    ],
)
def test_faults_have_their_code(code: str, data: bytes) -> None:
    assert reason(data) == code


def test_compression_without_a_decoder_says_so() -> None:
    dataset = ct(PixelData=encapsulate([b"nonsense"]))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    assert reason(dicom_bytes(dataset)) in ("unsupported-syntax", "decode")


def test_a_run_length_bomb_is_refused_by_its_header() -> None:
    dataset = ct(Rows=20_000, Columns=20_000, PixelData=encapsulate([b"\x81\x00" * 1000]))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    assert reason(dicom_bytes(dataset)) == "too-large"


def test_no_tag_value_reaches_a_message_a_warning_a_log_or_the_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "DOE^JANE"
    for fault in ({}, {"Rows": 0}, {"PixelData": bytes(9)}):
        dataset = ct(PatientName=secret, ImageComments=secret, StudyDescription=secret, **fault)
        path = dicom(tmp_path / f"{secret}.dcm", dataset)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                image = read_image(path)
                said = repr(image).encode() + nifti.encode(image, image.array, level=0)
            except RecordError as error:
                said = f"{error} {error.path}".encode()
        assert secret.encode() not in said
        assert not caught
    with pytest.raises(RecordError):
        decode(_string_of_frames())
    assert not caplog.records


def test_images_that_pydicom_ships_are_read_or_refused_with_a_code() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    read, codes = 0, set()
    for path in sorted(folder.glob("*.dcm")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = pydicom.dcmread(path)
            image = read_image(path)
        except (RecordError, pydicom.errors.InvalidDicomError) as error:
            codes.add(getattr(error, "reason", "not-dicom"))
            continue
        read += 1
        if not image.colour and "RescaleSlope" not in expected and "ModalityLUTSequence" not in expected:
            pixels = expected.pixel_array.reshape(image.shape[::-1])
            np.testing.assert_array_equal(image.array, pixels.transpose(2, 1, 0))
    assert read >= 45
    assert codes <= {
        "no-pixels", "not-image", "unsupported-syntax", "truncated", "shape-mismatch", "bad-tag", "not-dicom", "decode",
    }  # fmt: skip
