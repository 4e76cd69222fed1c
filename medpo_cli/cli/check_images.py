"""``medpo check --images``: does every proof hold, from the files alone?"""

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, Corrupted

if TYPE_CHECKING:
    from medpo_cli.imaging.image import Image


def check_images(record: Case, context: Context) -> int:
    """Report each part of the record's proofs that does not hold through ``context.reject``.

    Returns:
        How many images (corrupted, control, ladder) were compared with their source.
    """
    if record.corrupted is None and record.control is None:
        return 0
    try:
        proofs = Proofs(record, context)
    except RecordError as error:
        context.reject(record.id, error)
        return 0
    for problems in (*(proofs.made(made, field) for made, field in proofs.images), proofs.ladder()):
        try:
            for problem in problems:
                context.reject(record.id, problem)
        except RecordError as error:
            context.reject(record.id, error)
    return proofs.looked


class Proofs:
    """The files of one record: source image and marked regions.

    Attributes:
        images: corrupted image and control with their JSON paths, where there are such.
        looked: images compared so far.

    Raises:
        RecordError: the image or a mask cannot be read.
    """

    def __init__(self, record: Case, context: Context) -> None:
        from medpo_cli.imaging import regions
        from medpo_cli.stages.corrupt_target import wanted_regions

        made = ((record.corrupted, "$.corrupted"), (record.control, "$.control"))
        self.images = [(one, field) for one, field in made if one is not None]
        self.looked = 0
        self._record, self._context = record, context
        self._source = self._read(record.images[0].path, record.images[0].sha256, "$.image")
        frame = record.images[0].frame
        self._masks = [
            regions.region_mask(region, self._source, context, frame, f"$.regions[{number}]")
            for number, region in enumerate(record.regions or [])
        ]
        # An image may have been made for a case, or for other edits than those the record holds now.
        wanted = [self._masks[number] for number, _ in wanted_regions(record)]
        self._lesions = regions.union(self._masks) if self._masks else np.zeros(self._source.shape, bool)
        self._findings = [*([regions.union(wanted)] if wanted else []), self._lesions, *self._masks]

    def _read(self, path: str, sha256: str | None, field: str) -> "Image":
        from medpo_cli.imaging.window import checked_source
        from medpo_cli.schema.records import ImageRef

        return checked_source(ImageRef(path=path, sha256=sha256), self._context, field).image

    def made(self, made: Corrupted, field: str) -> Iterator[RecordError]:
        """Problems of one corrupted image."""
        from medpo_cli.imaging import verify

        result = self._read(made.image.path, made.image.sha256, f"{field}.image")
        self.looked += 1
        try:
            region, finding = verify.matching(made, self._findings, self._lesions, self._source)
        except RecordError as error:
            raise RecordError(error.reason, error.message, f"{field}{error.path}") from None
        for problem in verify.problems(self._source, result, made, region, finding):
            yield RecordError(problem.reason, problem.message, f"{field}{problem.path}")
        if field == "$.control" and (region & self._lesions).any():
            yield RecordError("proof-control", "the control touches a marked region", f"{field}.region")

    def ladder(self) -> Iterator[RecordError]:
        """Problems of the ladder's images that lie beside the corrupted one: those between were made with it."""
        from medpo_cli.imaging import verify

        made = self._record.corrupted
        if made is None:
            return
        folder, known = posixpath.dirname(made.image.path), (self._record.images[0].path, made.image.path)
        for ref, field in extras(self._record).ladder_images():
            if posixpath.dirname(ref.path) != folder or ref.path in known:
                continue
            try:
                region, _ = verify.matching(made, self._findings, self._lesions, self._source)
            except RecordError:
                return  # said of the corrupted image already
            self.looked += 1
            result = self._read(ref.path, ref.sha256, field)
            if not verify.same_outside(self._source, result, region):
                yield RecordError("proof-outside", "voxels outside the region differ from the source", field)
