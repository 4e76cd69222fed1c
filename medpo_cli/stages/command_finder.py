"""Masks of ``medpo masks --mask-cmd``, checked before anything believes them."""

import dataclasses
from pathlib import Path

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging import regions
from medpo_cli.imaging.geometry import from_picture, same_grid, to_picture
from medpo_cli.imaging.image import Mask, content_hash
from medpo_cli.imaging.mask_command import Asked, Limits, MaskCommand
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.window import frame_of
from medpo_cli.schema.config import MasksConfig
from medpo_cli.schema.records import Case
from medpo_cli.stages.found import Found

KEPT = 256


class CommandFinder:
    """Masks of ``--mask-cmd``, checked on the image's grid."""

    circular = False

    def __init__(self, config: MasksConfig) -> None:
        log = Path(config.mask_log) if config.mask_log else None
        self._command = MaskCommand(config.mask_cmd, Limits(config.mask_startup, config.mask_timeout), log)
        self._kept: dict[tuple[bytes, int | None, str], Found] = {}

    @property
    def source(self) -> str:
        """Its name and version."""
        return self._command.source

    def find(self, case: Case, asked: Asked) -> Found:
        """Ask once for one image and target."""
        key = (content_hash(asked.image), asked.frame, asked.target)
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            status, path, score = self._command.ask(asked)
            mask = None if path is None else on_grid(path, asked)
            self._kept[key] = Found(status, mask, score)
        return self._kept[key]

    def close(self) -> None:
        """End the program."""
        self._command.close()


def on_grid(path: Path, asked: Asked) -> Mask:
    """The mask in a file that a program wrote: NIfTI on the image's grid, or PNG on its view.

    Raises:
        RecordError: ``geometry-mismatch``, ``mask-not-binary``, ``unsupported-format``, or what reading raises.
    """
    other = read_image(path)
    if other.kind == "nifti":
        if not same_grid(asked.image, dataclasses.replace(other, frames=asked.image.frames)):
            raise RecordError("geometry-mismatch", "the mask command's mask is not on the image's grid")
        return regions.select(regions.labels_of(other, "$"), None, "$", soft=False)
    if other.kind != "png":
        raise RecordError("unsupported-format", "the mask command must write NIfTI or PNG")
    index = frame_of(asked.image, asked.frame)
    drawn = regions.select(regions.labels_of(other, "$"), None, "$", soft=True)[:, :, 0].T
    if drawn.shape != to_picture(asked.image.array[:, :, index], asked.image.affine).shape[:2]:
        raise RecordError("geometry-mismatch", "the mask command's picture is not as large as the view")
    mask = np.zeros(asked.image.shape, bool, order="F")
    mask[:, :, index] = from_picture(drawn, asked.image.affine)
    return mask
