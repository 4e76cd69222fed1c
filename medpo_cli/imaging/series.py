"""The slices of a DICOM series to one volume: all headers are judged before any pixels are decoded."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging import dicom, dicom_values
from medpo_cli.imaging.image import MAX_FILE_BYTES, Array, Image, Mask, check_samples, frozen
from medpo_cli.imaging.series_order import Slice, arrange, check_alike, header

INDEX = "DICOMDIR"

Load = Callable[[Path], bytes]


def files_of(folder: Path) -> list[Path]:
    """Files directly in a folder, by name; a DICOMDIR and hidden files are left aside.

    Raises:
        RecordError: ``unreadable``; ``not-regular`` for anything else than a file (links are not followed);
            ``not-dicom`` where there is nothing.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name != INDEX and not entry.name.startswith(".")]
        regular = [entry.is_file(follow_symlinks=False) for entry in entries]
    except OSError:
        raise RecordError("unreadable", "the folder cannot be read") from None
    if not all(regular):
        raise RecordError("not-regular", "the folder of a series holds something else than files")
    if not entries:
        raise RecordError("not-dicom", "the folder holds no DICOM file")
    return sorted(Path(entry.path) for entry in entries)


def read_series(paths: list[Path], load: Load = Path.read_bytes) -> tuple[Image, str]:
    """The volume of the slices in ``paths``, in any order.

    Args:
        paths: DICOM files of one series; a single one may hold several frames.
        load: bytes of a file.

    Returns:
        ``[X, Y, Z]`` (or ``[X, Y, Z, 3]``) with slices along the normal, values after each slice's own modality
        transform, RAS+ affine; and the sha256 (hex) over the sorted sha256 of the files, which no renaming changes.

    Raises:
        RecordError: ``series-ambiguous`` (several series), ``series-mixed`` (size, spacing, orientation, frame of
            reference, modality or photometric interpretation differ; or several frames), ``series-unplaced``,
            ``series-duplicate``, ``series-gap``, ``series-jitter``, ``series-tilt``, ``too-large``,
            ``unreadable``, and those of ``dicom.decode``.
    """
    with dicom.quiet():
        slices = [header(path) for path in paths]
    if sum(one.size for one in slices) > MAX_FILE_BYTES:
        raise RecordError("too-large", f"the files of the series are larger than {MAX_FILE_BYTES} bytes")
    if len(slices) == 1:
        data = read_file(paths[0], load)
        return dicom.decode(data), combined([hashlib.sha256(data).hexdigest()])
    check_alike(slices)
    check_samples(sum(one.samples for one in slices))
    ordered, place = arrange(slices)
    return _stacked(ordered, place, load)


def read_file(path: Path, load: Load) -> bytes:
    """Bytes of a file that was there when its header was read."""
    try:
        return load(path)
    except OSError:
        raise RecordError("unreadable", "the file cannot be opened") from None


def combined(digests: list[str]) -> str:
    """One sha256 (hex) for a set of files: of the sorted sha256 of each, one a line."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(digests)).encode()).hexdigest()


def _stacked(ordered: list[Slice], place: dicom_values.Place, load: Load) -> tuple[Image, str]:
    images, digests = [], []
    for one in ordered:
        data = read_file(one.path, load)
        images.append(dicom.decode(data))
        digests.append(hashlib.sha256(data).hexdigest())
        if images[-1].array.shape != images[0].array.shape:
            raise RecordError("shape-mismatch", "a slice has another shape than its header declared")
    middle = images[len(images) // 2]
    volume = replace(
        middle, array=frozen(_joined([image.array for image in images])), affine=place.affine, spacing=place.spacing,
        padding=_padding(images), frames=False,
    )  # fmt: skip
    return volume, combined(digests)


def _joined(arrays: list[Array]) -> Array:
    """``[X, Y, 1(, 3)]`` each to one ``[X, Y, Z(, 3)]``; mixed types meet in one that holds all, at most float32."""
    kinds = {array.dtype for array in arrays}
    kind = np.result_type(*kinds) if all(one.kind in "iu" for one in kinds) else np.dtype(np.float32)
    volume = np.empty((len(arrays), *arrays[0][:, :, 0].swapaxes(0, 1).shape), kind)
    for index, array in enumerate(arrays):
        volume[index] = array[:, :, 0].swapaxes(0, 1)
    return dicom.turned(volume if len(kinds) == 1 else dicom_values.narrow(volume))


def _padding(images: list[Image]) -> Mask | None:
    if all(image.padding is None for image in images):
        return None
    none = np.zeros(images[0].shape, bool)
    masks = [none if image.padding is None else image.padding for image in images]
    return np.concatenate(masks, axis=2)
