"""What passes between medpo and the process that reads files: framed MessagePack, then raw voxels.

A message is 4 bytes (length, big endian) and a MessagePack map. After a reply with an image come the bytes of its
array and, where it has one, of its padding mask, both in file order (``[Z, Y, X(, 3)]``, native byte order). No pickle:
what has read a hostile file is not trusted with more than numbers.
"""

import math
import socket
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from medpo_cli.imaging.image import MAX_SAMPLES, Array, Grid, Image, Kind
from medpo_cli.schema.records import Window

Task = Literal["image", "unmarked", "series", "unmarked-series", "header", "marks"]
MAX_HEAD = 2**20
"""Longest message without voxels."""
MAX_VOXELS = 3 * MAX_SAMPLES
"""Palettes become three samples after the cap was checked."""
M = TypeVar("M")


class BrokenError(Exception):
    """The other side is gone, or says what the protocol does not know."""


class Question(msgspec.Struct, array_like=True):
    """What to read: one file, or the slices of a series; paths as the file system spells them."""

    task: Task
    paths: list[bytes]
    seconds: float


class Shown(msgspec.Struct, array_like=True):
    """An ``Image`` but for its voxels; the fields are those of ``Image``."""

    shape: tuple[int, ...]
    dtype: str
    padding: bool
    kind: Kind
    affine: tuple[float, ...] | None
    spacing: tuple[float, float, float] | None
    modality: str | None
    inverted: bool
    window: Window | None
    slope: float
    inter: float
    frames: bool
    grid: Grid | None
    frame_of_reference: str | None


class Reply(msgspec.Struct, array_like=True):
    """What became of a question.

    Attributes:
        refusal: reason, message and JSON path of a RecordError.
        sha256: of the file's bytes, hex.
        image: the image, whose voxels follow.
        value: what a task answers beside or instead of an image, as MessagePack.
    """

    refusal: tuple[str, str, str | None] | None = None
    sha256: str = ""
    image: Shown | None = None
    value: bytes = b""


def shown(image: Image) -> Shown:
    """The description of an image."""
    affine = None if image.affine is None else tuple(image.affine.astype(np.float64).ravel().tolist())
    return Shown(
        shape=image.array.shape, dtype=image.array.dtype.str, padding=image.padding is not None, kind=image.kind,
        affine=affine, spacing=image.spacing, modality=image.modality, inverted=image.inverted, window=image.window,
        slope=image.slope, inter=image.inter, frames=image.frames, grid=image.grid,
        frame_of_reference=image.frame_of_reference,
    )  # fmt: skip


def image_of(head: Shown, voxels: Callable[[tuple[int, ...], str], Array]) -> Image:
    """The image that ``head`` describes.

    Args:
        head: of ``shown``.
        voxels: gives the next array that follows, by shape and type.

    Raises:
        BrokenError: no reader of ours describes an image like this.
    """
    if np.dtype(head.dtype).kind not in "biuf" or len(head.shape) not in (3, 4) or math.prod(head.shape) > MAX_VOXELS:
        raise BrokenError
    affine = None if head.affine is None else np.array(head.affine, np.float64).reshape(4, 4)
    return Image(
        array=voxels(head.shape, head.dtype), padding=voxels(head.shape[:3], "?") if head.padding else None,
        kind=head.kind, affine=affine, spacing=head.spacing, modality=head.modality, inverted=head.inverted,
        window=head.window, slope=head.slope, inter=head.inter, frames=head.frames, grid=head.grid,
        frame_of_reference=head.frame_of_reference,
    )  # fmt: skip


def send(line: socket.socket, message: Any, *arrays: Array) -> None:
    """Send a message and the arrays that follow it."""
    head = msgspec.msgpack.encode(message)
    line.sendall(len(head).to_bytes(4, "big") + head)
    for array in arrays:
        turned = np.ascontiguousarray(array.transpose(2, 1, 0, *range(3, array.ndim)))
        line.sendall(turned.view(np.uint8).data.cast("B") if turned.size else b"")


def receive(line: socket.socket, kind: type[M]) -> M:
    """The next message.

    Raises:
        BrokenError: there is none.
        TimeoutError: as the socket's own limit says.
    """
    size = int.from_bytes(_exactly(line, bytearray(4)), "big")
    if size > MAX_HEAD:
        raise BrokenError
    try:
        return msgspec.msgpack.decode(_exactly(line, bytearray(size)), type=kind)
    except msgspec.DecodeError:
        raise BrokenError from None


def receive_array(line: socket.socket, shape: tuple[int, ...], dtype: str) -> Array:
    """The next array ``[X, Y, Z(, 3)]``, read-only."""
    turned = np.empty((shape[2], shape[1], shape[0], *shape[3:]), dtype)
    _exactly(line, turned.view(np.uint8).data.cast("B"))
    turned.flags.writeable = False
    return turned.transpose(2, 1, 0, *range(3, turned.ndim))


def _exactly(line: socket.socket, place: bytearray | memoryview) -> bytearray | memoryview:
    """Fill ``place``."""
    view = memoryview(place)
    while view:
        count = line.recv_into(view)
        if count == 0:
            raise BrokenError
        view = view[count:]
    return place
