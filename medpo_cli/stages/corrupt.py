"""``medpo corrupt``: destroy the evidence of each record, and an equal region elsewhere as a control."""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from medpo_cli.errors import ConfigError, RecordError
from medpo_cli.imaging import corruption, ladder, regions
from medpo_cli.imaging.control import Ground, find_control
from medpo_cli.imaging.image import Image, Mask, content_hash
from medpo_cli.imaging.window import checked_source, resolve_window
from medpo_cli.io.context import Context
from medpo_cli.io.files import remove_leftovers, sync_file, translate_os_error
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, Corrupted, ImageRef, Pair, Region, Window

Value = TypeVar("Value")
KEPT_IMAGES = 8
KEPT_FILES = 4096


def run(records: Iterable[Case], config: CorruptConfig, context: Context) -> Iterator[Case]:
    """Yield each record with ``corrupted`` and ``control`` where it has a region to destroy.

    A record without such a region passes unchanged, unless ``config.fallback`` is ``whole``. With
    ``config.ladder`` a record with a region also gets ``ext.align.ladder``: that many images from the clean
    to the corrupted one, evenly spaced.
    """
    worker = Corrupter(config, context)
    remove_leftovers(worker.folder)
    context.progress.start("corrupt")
    try:
        for record in records:
            context.check_time()
            try:
                done = worker.corrupt(record)
            except RecordError as error:
                context.reject(record.id, error)
            else:
                yield done
            context.progress.advance()
    finally:
        worker.sync()
    for message, count in sorted(worker.counts.items()):
        context.progress.note(f"{message}: {count} of {worker.seen} records")


def normalised(label: str) -> str:
    """Label for comparison: lower case, words joined by ``_``."""
    return "_".join(label.lower().split())


def wanted_regions(record: Case) -> list[tuple[int, Region]]:
    """Regions to destroy with their index: those the edits of a pair are about, all of any other record.

    Those are the ones that its spans are tied to, else those with a span's label. A pair whose spans name no label
    is about all its regions.
    """
    numbered = list(enumerate(record.regions or []))
    if tied := {n for span in (record.spans if isinstance(record, Pair) else []) for n in span.regions or ()}:
        return [(n, region) for n, region in numbered if n in tied]
    # An edit of touching statements is labelled with all of them: ``nodule+opacity``.
    spans = record.spans if isinstance(record, Pair) else []
    labels = {normalised(label) for span in spans if span.label for label in span.label.split("+")}
    return [(n, region) for n, region in numbered if normalised(region.label) in labels] if labels else numbered


class Corrupter:
    """The work on one record after another, with what neighbours share kept.

    Attributes:
        counts: how often something was left out, by message.
        seen: records so far.
    """

    def __init__(self, config: CorruptConfig, context: Context) -> None:
        if config.ladder == 1:
            raise ConfigError("ladder: at least 2 images (clean and corrupted), or 0 for none")
        self.config = config
        self.context = context
        self.folder = images_folder(config, context)
        self.counts: Counter[str] = Counter()
        self.seen = 0
        self._images: Recent[Prepared] = Recent(KEPT_IMAGES)
        self._made: Recent[corruption.Made] = Recent(KEPT_FILES)
        self._unsynced: set[str] = set()
        self._sites: Recent[tuple[Mask, str] | None] = Recent(KEPT_IMAGES * 8)

    def corrupt(self, record: Case) -> Case:
        """``record`` with its corrupted images, or as it is."""
        self.seen += 1
        wanted = wanted_regions(record)
        if not wanted and self.config.fallback == "none":
            self.counts["no region to destroy"] += 1
            return record
        ref, field = record.images[0], "$.image[0]" if isinstance(record.image, list) else "$.image"
        image = self._prepared(ref, field)
        masks = {number: self._mask(region, image, ref, number) for number, region in wanted}
        region = regions.union(list(masks.values())) if masks else None
        if region is None or regions.fraction(region) > regions.MAX_FRACTION:
            return self._whole(record, ref, image, too_large=region is not None)
        done = self._destroyed(ref, image, region, self.config.operator, "lesion")
        if done.region.changed == 0:
            raise RecordError(
                "no-effect", "destroying the region changed nothing: the mask marks no structure", "$.regions"
            )
        control = self._control(record, ref, image, region, masks) if self.config.control else None
        ext = self._with_ladder(record, ref, image, region, done) if self.config.ladder else record.ext
        return msgspec.structs.replace(record, corrupted=done, control=control, ext=ext)

    def sync(self) -> None:
        """Force the written images to the disk; until then a power failure could leave one empty, never wrong."""
        while self._unsynced:
            try:
                sync_file(self.folder / self._unsynced.pop())
            except OSError as error:
                raise translate_os_error(error, "corrupted image") from None

    def _whole(self, record: Case, ref: ImageRef, image: "Prepared", *, too_large: bool) -> Case:
        """The explicit fallback: the paper's noise everywhere (a fill has nothing to go by), no control."""
        if self.config.fallback == "none":
            self.counts[f"region above {regions.MAX_FRACTION:.0%} of the image left alone"] += too_large
            return record
        everything = np.ones(image.image.shape, bool)
        done = self._destroyed(ref, image, everything, "gaussian", "fallback-whole")
        return msgspec.structs.replace(record, corrupted=done, control=None)

    def _control(
        self, record: Case, ref: ImageRef, image: "Prepared", region: Mask, masks: dict[int, Mask]
    ) -> Corrupted | None:
        others = [
            masks[number] if number in masks else self._mask(other, image, ref, number)
            for number, other in enumerate(record.regions or [])
        ]
        lesions = regions.union(others)
        about: corruption.Parameters = {"lesions": regions.region_hash(lesions)}
        key = corruption.key_of(image.content, region, "control", about, self.config.seed)
        site = self._sites.get_or(
            key, lambda: find_control(image.ground(region), region, lesions, corruption.stream_of(key)[1])
        )
        if site is None:
            self.counts["no legal control site"] += 1
            return None
        return self._destroyed(ref, image, site[0], self.config.operator, f"control-{site[1]}")

    def _with_ladder(
        self, record: Case, ref: ImageRef, image: "Prepared", region: Mask, done: Corrupted
    ) -> dict[str, Any]:
        """``ext`` with the clean image, those between, and the corrupted one as ``align.ladder``."""
        extras(record)
        last = self.config.ladder - 1
        rungs = [ref, *(self._rung(ref, image, region, done, step / last) for step in range(1, last)), done.image]
        ext = record.ext or {}
        return {**ext, "align": {**ext.get("align", {}), "ladder": msgspec.to_builtins(rungs)}}

    def _rung(self, ref: ImageRef, image: "Prepared", region: Mask, done: Corrupted, share: float) -> ImageRef:
        """The image of which ``share`` of the evidence is destroyed."""
        about = {**done.parameters, "share": share}
        key = corruption.key_of(image.content, region, done.operator, about, self.config.seed)
        end = self.folder / Path(done.image.path).name
        made = self._made.get_or(key, lambda: ladder.write(image.image, end, key, region, share))
        return self._shown(made, ref, image)

    def _prepared(self, ref: ImageRef, field: str) -> "Prepared":
        source = checked_source(ref, self.context, field)
        if ref.frame is not None and ref.frame >= source.image.shape[2]:
            raise RecordError("frame-out-of-range", "the image has no such frame", f"{field}.frame")
        return self._images.get_or(source.sha256, lambda: Prepared(source.image))

    def _mask(self, region: Region, image: "Prepared", ref: ImageRef, number: int) -> Mask:
        return regions.region_mask(region, image.image, self.context, ref.frame, f"$.regions[{number}]")

    def _destroyed(self, ref: ImageRef, image: "Prepared", mask: Mask, operator: str, route: str) -> Corrupted:
        parameters = corruption.parameters_of(operator, self.config.sigma, image.image, ref.window)
        key = corruption.key_of(image.content, mask, operator, parameters, self.config.seed)
        made = self._made.get_or(
            key, lambda: corruption.destroy(image.image, key, mask, operator, parameters, self.folder)
        )
        shown = self._shown(made, ref, image)
        return Corrupted(
            image=shown, operator=operator, parameters=parameters, seed=made.seed, region=made.proof, route=route
        )

    def _shown(self, made: corruption.Made, ref: ImageRef, image: "Prepared") -> ImageRef:
        """Reference to a written image, looked at as its source is."""
        self._unsynced.add(made.name)
        path = Path(os.path.relpath(self.folder / made.name, self.context.root.resolve())).as_posix()
        return msgspec.structs.replace(ref, path=path, sha256=made.sha256, window=image.window(ref))


def images_folder(config: CorruptConfig, context: Context) -> Path:
    """Absolute folder for the images.

    Raises:
        ConfigError: it leaves the root.
    """
    folder = (context.root / config.images).resolve()
    if not context.allow_outside and not folder.is_relative_to(context.root.resolve()):
        raise ConfigError("images: the folder leaves the root (--allow-outside permits it)")
    return folder


class Prepared:
    """An image with what several records need of it, worked out once."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.content = content_hash(image)
        self._grounds: Recent[Ground] = Recent(KEPT_IMAGES)
        self._window = resolve_window(image)

    def ground(self, region: Mask) -> Ground:
        """What a control search needs of the slices that ``region`` lies on."""
        slices = regions.box_of(region)[2]
        return self._grounds.get_or((slices.start, slices.stop), lambda: Ground(self.image, slices))

    def window(self, ref: ImageRef) -> Window | None:
        """The window the source is seen through, which the copy cannot work out by itself."""
        return ref.window or self._window


class Recent(OrderedDict[Hashable, Value]):
    """The values used last."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def get_or(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Value of ``key``, made where it is not kept."""
        if key not in self:
            self[key] = make()
            while len(self) > self.size:
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]
