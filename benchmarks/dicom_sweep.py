"""Which of pydicom's test images ``read_image`` takes, and with what code it refuses the others.

Counts every file with pixel data of the installed pydicom and, where it is installed, of the package pydicom-data, each
content once. Grey values (after slope, intercept or modality LUT) are compared with pydicom's own where it can; it does
not look for a slope in the functional groups of an enhanced image, so eCT_Supplemental.dcm differs.

Run: ``python benchmarks/dicom_sweep.py``, with and without the extra ``codecs``. Files that pydicom would download are
left out.
"""

import argparse
import hashlib
import importlib.util
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut

from medpo_cli.errors import RecordError
from medpo_cli.imaging.image import Image
from medpo_cli.imaging.read import read_image

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def files() -> Iterator[tuple[Path, Any]]:
    """Files with pixel data and what pydicom reads from them."""
    seen = set()
    for name, folder in (("pydicom", "data"), ("data_store", "")):
        spec = importlib.util.find_spec(name)
        for root in [] if spec is None else list(spec.submodule_search_locations or ()):
            for path in sorted((Path(root) / folder).rglob("*")):
                try:
                    dataset = pydicom.dcmread(path, force=True)
                    held = any(element in dataset for element in PIXELS)
                except Exception:
                    continue
                digest = hashlib.sha256(path.read_bytes()).digest()
                if held and digest not in seen:
                    seen.add(digest)
                    yield path, dataset


def compared(image: Image, dataset: Any) -> str:
    """Whether the grey values are pydicom's."""
    if image.colour:
        return "colour, not compared"
    try:
        theirs = apply_modality_lut(dataset.pixel_array, dataset)
    except Exception:
        return "pydicom cannot"
    ours = image.scaled(image.array).transpose(2, 1, 0).reshape(theirs.shape)
    return "equal" if np.allclose(ours, theirs, rtol=1e-6, atol=1e-6) else "different"


def main() -> None:
    """Print counts and refusals."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore")
    values: Counter[str] = Counter()
    refused, different = [], []
    for path, dataset in files():
        try:
            image = read_image(path)
        except RecordError as error:
            refused.append(f"{error.reason:>20}  {path.name}")
        else:
            outcome = compared(image, dataset)
            values[outcome] += 1
            if outcome == "different":
                different.append(f"{outcome:>20}  {path.name}")
    print(f"{values.total()} read, {len(refused)} refused; values: {dict(values)}")
    print("\n".join([*refused, *different]))


if __name__ == "__main__":
    main()
