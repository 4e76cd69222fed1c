"""Headers that decide about an import."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import ct, dicom, dicom_bytes
from data.mark_files import seg
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from medpo_cli.errors import RecordError
from medpo_cli.imaging import phi, read


def header(path: Path, **tags: object) -> phi.Header:
    return phi.read_header(dicom(path / "x.dcm", ct(**tags)))


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({}, ""),
        ({"BurnedInAnnotation": "NO"}, ""),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, ""),  # a reformatted volume is no secondary capture
        ({"BurnedInAnnotation": "YES"}, "burned-in"),
        ({"BurnedInAnnotation": "yes "}, "burned-in"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary-capture"),
        ({"Modality": "SC"}, "secondary-capture"),
        ({"ConversionType": "DF"}, "secondary-capture"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "secondary-capture"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_what_may_show_a_name_is_refused(tmp_path: Path, tags: dict[str, object], code: str) -> None:
    found = header(tmp_path, **tags)
    if not code:
        phi.refuse_burned_in(found)
        return
    with pytest.raises(RecordError) as caught:
        phi.refuse_burned_in(found)
    assert caught.value.reason == code


def test_an_overlay_in_the_pixel_bits_counts_as_burned_in(tmp_path: Path) -> None:
    dataset = ct()
    dataset.add_new(0x60020102, "US", 12)
    assert phi.read_header(dicom(tmp_path / "x.dcm", dataset)).burned_in
    dataset[0x60020102].value = 0
    assert not phi.read_header(dicom(tmp_path / "x.dcm", dataset)).burned_in


def test_header_says_who_and_what_but_has_no_printed_form(tmp_path: Path) -> None:
    found = header(
        tmp_path, PatientID="ZQ 1", IssuerOfPatientID="here", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1",
        ImagePositionPatient=[0, 0, 0], RecognizableVisualFeatures="YES",
    )  # fmt: skip
    assert (found.patient, found.study, found.series, found.instance) == ("here\0ZQ 1", "1.9", "1.9.1", "1.2.3")
    assert (found.slice, found.face, found.unsure) == (True, True, False)
    assert "ZQ" not in repr(found) + str(found)
    assert header(tmp_path, Modality="US").unsure
    assert header(tmp_path, PatientID=None).patient == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-file"),
        (b"hello" * 100, "not-dicom"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 100, "not-dicom"),
        (dicom_bytes(ct(Rows=None)), "not-image"),
    ],
)
def test_what_is_no_image_file(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(RecordError) as caught:
        phi.read_header(tmp_path / "x")
    assert caught.value.reason == code


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_mark_is_set_aside_and_nothing_else(tmp_path: Path, syntax: str | None) -> None:
    dataset = ct(BurnedInAnnotation="YES")
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.set_original_encoding(False, False)
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    data = dicom_bytes(dataset)
    changed = phi.without_mark(data)
    assert len(changed) == len(data)
    assert sum(one != other for one, other in zip(data, changed, strict=True)) == 3  # YES -> NO and a blank
    with pytest.raises(RecordError):
        read.decode(data, Path("x"))
    np.testing.assert_array_equal(read.decode(changed, Path("x")).array[:, :, 0].T.ravel(), np.arange(256))
    plain = dicom_bytes(ct())
    assert phi.without_mark(plain) == plain


def test_a_segmentation_is_no_image_to_import(tmp_path: Path) -> None:
    dataset = seg([np.ones((4, 4), bool)], [(0, 0, 0)])
    with pytest.raises(RecordError) as caught:
        phi.read_header(dicom(tmp_path / "seg.dcm", dataset))
    assert caught.value.reason == "not-image"
