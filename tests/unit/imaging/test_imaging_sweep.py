"""Every image that pydicom ships is read with pydicom's own values, or refused with the code that fits."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from data.imaging_files import ct, dicom
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array

from medpo_cli.errors import RecordError
from medpo_cli.imaging import read
from medpo_cli.imaging.dicom import quiet

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
CODECS = find_spec("imagecodecs") is not None
REFUSED = {
    "GDCMJ2K_TextGBR.dcm": "decode",  # a palette of the codec's own
    "JPEG2000-embedded-sequence-delimiter.dcm": "decode",
    "MR_small_padded.dcm": "shape-mismatch",  # more pixel data than declared
    "MR_truncated.dcm": "truncated",
    "badVR.dcm": "bad-tag",
    "image_dfl.dcm": "unsupported-syntax",  # deflated: a bomb cannot be told apart
}
WITHOUT_CODECS = {
    "JPEG-lossy.dcm": "decode",
    "JPGExtended.dcm": "decode",
    "JPEGLSNearLossless_08.dcm": "unsupported-syntax",
    "JPEGLSNearLossless_16.dcm": "unsupported-syntax",
    "MR_small_jpeg_ls_lossless.dcm": "unsupported-syntax",
    "SC_rgb_jls_lossy_line.dcm": "unsupported-syntax",
    "SC_rgb_jls_lossy_sample.dcm": "unsupported-syntax",
    "SC_rgb_jpeg_gdcm.dcm": "unsupported-syntax",
}


def _images() -> list[Path]:
    found = []
    for path in sorted(SHIPPED.rglob("*")):
        with quiet():
            try:
                dataset = pydicom.dcmread(path, force=True) if path.is_file() else {}
                if "PixelData" in dataset and "Rows" in dataset:
                    found.append(path)
            except Exception:
                continue
    return found


def test_shipped_images_are_read_or_refused_with_their_code() -> None:
    refused = {}
    images = _images()
    for path in images:
        try:
            image = read.load(path).image
        except RecordError as error:
            refused[path.name] = error.reason
        else:
            _compare(path, image.array)
    assert len(images) >= 93
    assert refused == (REFUSED if CODECS else REFUSED | WITHOUT_CODECS)


def _compare(path: Path, array: np.ndarray) -> None:
    """Grey values without a modality transform are pydicom's own."""
    with quiet():
        dataset = pydicom.dcmread(path, force=True)
        plain = dataset.get("PhotometricInterpretation") == "MONOCHROME2" and "TransferSyntaxUID" in dataset.file_meta
        if plain and not any(name in dataset for name in ("RescaleSlope", "ModalityLUTSequence", *_FUNCTIONAL)):
            own = pixel_array(dataset)
            own = own.reshape(-1, *own.shape[-2:])
            assert np.array_equal(array, own.transpose(2, 1, 0)), path.name


_FUNCTIONAL = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


@pytest.mark.skipif(CODECS, reason="the extra is installed")
def test_what_the_extra_would_read_says_how_to_install_it() -> None:
    with pytest.raises(RecordError, match=r"pip install 'medpo\[codecs\]'") as caught:
        read.load(SHIPPED / "MR_small_jpeg_ls_lossless.dcm")
    assert caught.value.reason == "unsupported-syntax"


@pytest.mark.skipif(not CODECS, reason="needs the extra codecs")
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (pydicom.uid.JPEGLSLossless, "jpegls_encode"),
        (pydicom.uid.JPEGLosslessSV1, "ljpeg_encode"),
        (pydicom.uid.HTJ2KLossless, "jpeg2k_encode"),
    ],
)
def test_lossless_codecs_give_back_every_value(tmp_path: Path, syntax: pydicom.uid.UID, encode: str) -> None:
    import imagecodecs

    stored = np.random.default_rng(0).integers(0, 4096, (24, 20)).astype(np.uint16)
    plain = ct(stored)
    expected = read.load(dicom(tmp_path / "plain.dcm", plain)).image.array
    packed = ct(stored)
    packed.PixelData = encapsulate([getattr(imagecodecs, encode)(stored)])
    packed.file_meta.TransferSyntaxUID = syntax
    packed["PixelData"].is_undefined_length = True
    packed["PixelData"].VR = "OB"
    assert np.array_equal(read.load(dicom(tmp_path / "packed.dcm", packed)).image.array, expected)


@pytest.mark.skipif(not CODECS, reason="needs the extra codecs")
def test_a_compressed_copy_equals_its_original() -> None:
    copy = read.load(SHIPPED / "MR_small_jpeg_ls_lossless.dcm").image
    assert np.array_equal(copy.array, read.load(SHIPPED / "MR_small.dcm").image.array)
