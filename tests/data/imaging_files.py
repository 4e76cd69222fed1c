"""Image files made in memory for the imaging tests: nothing real, nothing downloaded."""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image as Pillow
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

RIGHT_ANTERIOR = np.diag([-2.0, -3.0, 4.0, 1.0])
"""Columns to the patient's left, rows to the back: an axial slice that is shown as it is stored."""


def png(path: Path, picture: np.ndarray, **options: Any) -> Path:
    Pillow.fromarray(picture).save(path, format="PNG", **options)
    return path


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """``array`` [x, y, z]; without an affine both orientation codes are 0."""
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0) if path.suffix == ".gz" else image.to_bytes())
    return path


def patched(data: bytes, layout: str, offset: int, *values: Any) -> bytes:
    """``data`` with ``values`` packed over it at ``offset``."""
    copy = bytearray(data)
    struct.pack_into(layout, copy, offset, *values)
    return bytes(copy)


def ct(pixels: np.ndarray | None = None, **tags: Any) -> FileDataset:
    """A 16x16 uint16 CT data set; ``tags`` override or (None) remove."""
    if pixels is None:
        pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": "1.2.3", "Modality": "CT",
        "Rows": pixels.shape[-2], "Columns": pixels.shape[-1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize, "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "PixelData": pixels.tobytes(),
    } | tags  # fmt: skip
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def dicom_bytes(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom(path: Path, dataset: FileDataset) -> Path:
    path.write_bytes(dicom_bytes(dataset))
    return path


def slices(
    count: int = 8, step: float = 2.5, plane: tuple[float, ...] = (1, 0, 0, 0, 1, 0), **tags: Any
) -> list[FileDataset]:
    """A CT series: slice ``k`` lies ``k * step`` mm along the normal and holds ``k`` in every pixel."""
    normal = np.cross(plane[:3], plane[3:])
    made = []
    for k in range(count):
        position = [round(float(x), 6) for x in np.array([-10.5, -20.25, 30.0]) + k * step * normal]
        about = {
            "SOPInstanceUID": f"1.2.3.{k}", "SeriesInstanceUID": "1.2.9", "StudyInstanceUID": "1.2.8",
            "FrameOfReferenceUID": "1.2.7", "ImageOrientationPatient": list(plane), "ImagePositionPatient": position,
            "PixelSpacing": [0.8, 0.7], "SliceThickness": 99, "InstanceNumber": count - k,
            "RescaleIntercept": -1024, "RescaleSlope": 1,
        }  # fmt: skip
        made.append(ct(np.full((16, 12), k, np.uint16), **(about | tags)))
    return made


def series(folder: Path, datasets: list[FileDataset]) -> Path:
    """``datasets`` as files of ``folder``, named so that their order by name is not that in space."""
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        dicom(folder / f"{number * 7 % 10}-{number}.dcm", dataset)
    return folder


def disc(size: int, center: tuple[float, float], radius: float) -> np.ndarray:
    """bool [x, y] of a disc."""
    x, y = np.mgrid[:size, :size]
    return np.asarray((x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2)


def body_picture(size: int = 96, seed: int = 0) -> np.ndarray:
    """uint8 [y, x]: a textured bright body on black, symmetric but for the noise."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size, size))
    inside = disc(size, (size / 2 - 0.5, size / 2 - 0.5), 0.45 * size).T
    picture[inside] = 120
    return np.clip(picture + inside * rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
