"""Writing demo cases: pictures, masks, lesion-free twins and the case records that name them.

Orientation of 2-D files: masks are one-slice NIfTI with ``data[x, y, 0]`` = picture[row y, column x],
x counted from the picture's left and y from its top, 1 mm a pixel, and no claim of a patient position.
"""

import gzip
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medpo_cli.io.files import short_hash, write_atomic
from medpo_cli.io.stream import encode
from medpo_cli.schema.records import Case, End, ImageRef, MaskRef, Region, Task

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Question:
    """One case of a picture; ``labels`` name the masks that show what it is about."""

    name: str
    task: Task
    prompt: str
    reference: str
    labels: tuple[str, ...]
    ext: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """One picture uint8 [H, W] with bool masks of its lesions, pictures without one, and its cases.

    ``group`` clusters pictures that are not independent (default: the picture's own name).
    """

    name: str
    picture: Picture
    masks: dict[str, Mask]
    twins: dict[str, Picture]
    questions: list[Question]
    group: str = ""


def write_cases(folder: Path, *, domain: str = "phantom", split: str = "train", images: int, seed: int = 0) -> Path:
    """Write the cases of a split under ``folder``; equal arguments give equal bytes.

    Args:
        folder: root of the written paths: ``images/``, ``masks/``, ``twins/`` and ``SPLIT.jsonl``.
        domain: ``phantom`` (drawn chests) or ``ct`` (crops of real chest CT with inserted nodules).
        split: ``train``, ``validation`` or ``test``; no picture is in two of them, nor did the demo
            models see any of them. Lesion-free twins are written for validation and test.
        images: how many pictures; each has several cases.
        seed: another seed, other pictures.

    Returns:
        Path of ``SPLIT.jsonl``: case records and an end record.

    Raises:
        ValueError: no such domain or split, or a negative number.
    """
    if split not in SPLITS:
        raise ValueError(f"no such split; choose one of {', '.join(SPLITS)}")
    if images < 0 or seed < 0:
        raise ValueError("images and seed must not be negative")
    for name in ("images", "masks", *(["twins"] if split != "train" else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [
        encode(case) for drawing in drawings(domain, split, images, seed) for case in write_drawing(folder, drawing)
    ]
    run = short_hash("demo", domain, split, str(images), str(seed), *lines)
    end = End(stage="demo", run=run, records=len(lines), rejected=0)
    path = folder / f"{split}.jsonl"
    write_atomic(path, b"".join(line + b"\n" for line in [*lines, encode(end)]))
    return path


def drawings(domain: str, split: str, images: int, seed: int) -> Iterator[Drawing]:
    """The pictures of a split, one at a time."""
    match domain:
        case "phantom":
            from medpo_cli.demo import phantom_cases

            return phantom_cases.drawings(split, images, seed)
        case "ct":
            from medpo_cli.demo.ct import cases as ct_cases

            return ct_cases.drawings(split, images, seed)
        case _:
            raise ValueError("no such domain; choose phantom or ct")


def write_drawing(folder: Path, drawing: Drawing) -> list[Case]:
    """Write the files of one picture; returns its cases."""
    name = drawing.name
    image = ImageRef(path=f"images/{name}.png", sha256=_write(folder / f"images/{name}.png", png(drawing.picture)))
    regions = {}
    for label, mask in drawing.masks.items():
        path = f"masks/{name}.{label}.nii.gz"
        regions[label] = Region(
            label=finding_of(label), mask=MaskRef(path=path, sha256=_write(folder / path, mask_nifti(mask)))
        )
    twins = {}
    for label, picture in drawing.twins.items():
        twins[label] = f"twins/{name}.{label}.png"
        _write(folder / twins[label], png(picture))
    cases = []
    for question in drawing.questions:
        ext = dict(question.ext)
        shown = {finding_of(label): twins[label] for label in question.labels if label in twins}
        if shown:
            ext["twins"] = shown
        case = Case(
            id=f"{name}-{question.name}",
            image=image,
            prompt=question.prompt,
            reference=question.reference,
            task=question.task,
            group=drawing.group or name,
            regions=[regions[label] for label in question.labels if label in regions] or None,
            ext=ext or None,
        )
        cases.append(case)
    return cases


def finding_of(label: str) -> str:
    """The finding that a mask's name stands for: ``nodule.left`` is one of two nodules."""
    return label.partition(".")[0]


def png(picture: Picture) -> bytes:
    """An 8-bit grey PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def mask_nifti(mask: Mask) -> bytes:
    """A one-slice uint8 NIfTI-1 (.nii.gz) of a mask [row, column]."""
    from nibabel.nifti1 import Nifti1Header

    header = Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((mask.shape[1], mask.shape[0], 1))
    header.set_zooms((1.0, 1.0, 1.0))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    # Rows of the picture, one after the other, are what NIfTI's x-fastest order asks for.
    voxels = np.ascontiguousarray(mask, np.uint8).tobytes()
    return gzip.compress(header.binaryblock + b"\0" * 4 + voxels, compresslevel=6, mtime=0)


def _write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
