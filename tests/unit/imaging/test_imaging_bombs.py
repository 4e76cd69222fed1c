"""Files that hold far more than their header says: refused or left unread, within a small part of the memory cap."""

import gzip
import io
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from data.imaging_files import ct, dicom
from PIL import Image as Pillow
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from medpo_cli.errors import RecordError
from medpo_cli.imaging import guard

NOTHING = 2**28
"""Zero bytes behind what the header declares: 256 MiB, packed into a quarter of a MiB."""
ALLOWED = 2**20
"""KiB that the reading process may have taken: an eighth of its cap."""
NRRD = (
    b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 16 16 4\nencoding: gzip\nspace: left-posterior-superior\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
)
MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nCompressedDataSize = {}\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 16 16 4\n"
    "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)


def bitstream(path: Path, form: str, syntax: str) -> Path:
    """A DICOM file of 16 x 16 pixels whose compressed picture says 6000 x 6000."""
    packed = io.BytesIO()
    Pillow.new("L", (6000, 6000)).save(packed, form)
    dataset = ct(np.zeros((16, 16), np.uint8))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    return dicom(path, dataset)


def bomb(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "jpeg.dcm":
        return bitstream(path, "JPEG", JPEGBaseline8Bit)
    if name == "j2k.dcm":
        return bitstream(path, "JPEG2000", JPEG2000Lossless)
    if name == "a.nii.gz":
        small = nibabel.Nifti1Image(np.zeros((16, 16, 4), np.uint8), np.eye(4)).to_bytes()
        path.write_bytes(gzip.compress(small + bytes(NOTHING)))
    elif name == "a.nrrd":
        path.write_bytes(NRRD + gzip.compress(bytes(NOTHING)))
    else:
        packed = zlib.compress(bytes(NOTHING))
        path.write_bytes(MHA.format(len(packed)).encode() + packed)
    return path


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("jpeg.dcm", {"decode", "shape-mismatch"}),
        ("j2k.dcm", {"decode", "shape-mismatch"}),
        ("a.nii.gz", {"too-large"}),
        ("a.mha", {"decode", "bad-header"}),
        ("a.nrrd", {""}),  # only as much as was declared is unpacked
    ],
)
def test_more_than_declared_costs_no_memory(tmp_path: Path, name: str, reasons: set[str]) -> None:
    path = bomb(tmp_path, name)
    fresh = guard.Guard()
    try:
        reason = ""
        try:
            _, image = fresh.ask("image", path)
            assert image is not None
            assert image.shape == (16, 16, 4)
        except RecordError as error:
            reason = error.reason
        assert reason in reasons
        status = Path(f"/proc/{fresh.pid}/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        assert peak < ALLOWED
    finally:
        fresh.end()
