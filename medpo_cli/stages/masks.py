"""``medpo masks``: regions for records that have none, found by a program of the user or pointed at by the policy.

A record whose finding is not found stays as it is and is counted; nothing else takes the region's place.
"""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from medpo_cli.errors import ConfigError, RecordError
from medpo_cli.imaging import nifti, regions
from medpo_cli.imaging.image import Image, Mask, content_hash
from medpo_cli.imaging.mask_command import Asked
from medpo_cli.imaging.window import checked_source
from medpo_cli.io.context import Context
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.config import MasksConfig
from medpo_cli.schema.records import Case, MaskRef, Pair, Region, Span
from medpo_cli.stages.command_finder import CommandFinder
from medpo_cli.stages.corrupt_target import normalised
from medpo_cli.stages.found import Finder
from medpo_cli.stages.saliency import WHOLE, SaliencyFinder
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.ties import tied


def run(records: Iterable[Case], config: MasksConfig, context: Context) -> Iterator[Case]:
    """Yield each record with a region for each finding that it is about and that was found.

    Findings are those of a pair's spans, else ``config.targets``. A record keeps its regions; one with a region
    of that label is not asked about, unless ``config.replace``.

    Raises:
        ConfigError: nothing finds masks, or the folder leaves the root.
        UnavailableError: the finder does not work.
    """
    worker = _Worker(config, context)
    context.progress.start("masks", context.expected)
    try:
        for record in records:
            context.check_time()
            try:
                done = worker.masked(record)
            except RecordError as error:
                context.reject(record.id, error)
            else:
                yield done
            context.progress.advance()
    finally:
        worker.finder.close()
    for message, count in sorted(worker.counts.items()):
        context.progress.note(f"{message}: {count}")


def targets_of(record: Case, config: MasksConfig) -> list[str]:
    """What to look for: labels of a pair's edits (touching ones taken apart), else the configured words."""
    spans = record.spans if isinstance(record, Pair) else []
    labels = [label for span in spans if span.label for label in span.label.split("+")]
    words = labels or [word.strip() for word in config.targets.split(",") if word.strip()]
    words = words or ([WHOLE] if config.regions == "saliency" else [])
    return list({normalised(word): word for word in words}.values())


def open_finder(config: MasksConfig, context: Context) -> Finder:
    """The finder that the settings name."""
    if config.regions == "saliency":
        return SaliencyFinder(config, context)
    if not config.mask_cmd:
        raise ConfigError("mask_cmd: nothing finds the masks; name a command, or ask the policy (--regions saliency)")
    return CommandFinder(config)


class _Worker:
    def __init__(self, config: MasksConfig, context: Context) -> None:
        self.config, self.context = config, context
        self.folder = (context.root / config.folder).resolve()
        if not context.allow_outside and not self.folder.is_relative_to(context.root.resolve()):
            raise ConfigError("folder: it leaves the root (--allow-outside permits it)")
        self.lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)
        self.finder = open_finder(config, context)
        self.counts: Counter[str] = Counter()

    def masked(self, record: Case) -> Case:
        """``record`` with the regions that were found."""
        targets = targets_of(record, self.config)
        kept = list(record.regions or [])
        known = set() if self.config.replace else {normalised(region.label) for region in kept}
        wanted = [target for target in targets if normalised(target) not in known]
        if not targets:
            self.counts["records that name nothing to look for"] += 1
        if not wanted and not self.config.lesion_slice:
            return record
        ref, field = record.images[0], "$.image[0]" if isinstance(record.image, list) else "$.image"
        image = checked_source(ref, self.context, field).image
        if ref.frame is not None and ref.frame >= image.shape[2]:
            raise RecordError("frame-out-of-range", "the image has no such frame", f"{field}.frame")
        for target in wanted:
            words = " ".join(target.replace("_", " ").split())
            region = self._region(record, Asked(image, words, ref.frame, ref.window), target)
            if region is not None:
                kept = [old for old in kept if normalised(old.label) != normalised(target)] + [region]
        done = msgspec.structs.replace(record, regions=kept or None, **self._ties(record, kept))
        return self._at_lesion(done, image) if self.config.lesion_slice else done

    def _ties(self, record: Case, kept: list[Region]) -> dict[str, list[Span]]:
        """The spans of a pair, tied to the regions that it has now."""
        return {"spans": tied(record.spans, kept, record.chosen, self.lexicon)} if isinstance(record, Pair) else {}

    def _at_lesion(self, record: Case, image: Image) -> Case:
        """A case shown where most of its regions lie.

        Not what was answered (samples, pairs), which must be seen as it was seen, and not boxes and polygons,
        which lie on the slice that is shown now.
        """
        found = record.regions or []
        drawn = any(region.mask is None for region in found)
        if type(record) is not Case or isinstance(record.image, list) or not found or drawn or image.shape[2] == 1:
            return record
        masks = [
            regions.region_mask(region, image, self.context, None, f"$.regions[{n}]") for n, region in enumerate(found)
        ]
        frame = int(np.argmax(np.count_nonzero(regions.union(masks), axis=(0, 1))))
        shown = msgspec.structs.replace(record.image, frame=frame, montage=None, projection=None)
        return msgspec.structs.replace(record, image=shown)

    def _region(self, record: Case, asked: Asked, label: str) -> Region | None:
        found = self.finder.find(record, asked)
        status = found.status
        if found.mask is not None:
            status = self._refused(found.mask, found.score) or status
        self.counts[f"targets {'found' if status == 'ok' else status}"] += 1
        if status != "ok" or found.mask is None:
            return None
        return Region(
            label=label, mask=self._written(asked.image, found.mask), source=self.finder.source, score=found.score,
            circular=self.finder.circular,
        )  # fmt: skip

    def _refused(self, mask: Mask, score: float | None) -> str:
        """Why a sound mask is no region; empty if it is one."""
        if np.count_nonzero(mask) < regions.MIN_VOXELS:
            return "too-small"
        if regions.fraction(mask) > regions.MAX_FRACTION:
            return "too-large"
        return "low-score" if score is not None and score < self.config.min_score else ""

    def _written(self, image: Image, mask: Mask) -> MaskRef:
        """Reference to the mask's file, which is named by image and mask."""
        plain = dataclasses.replace(image, array=mask.astype(np.uint8), slope=1.0, inter=0.0, inverted=False)
        data = nifti.encode(plain, plain.array)
        name = hashlib.blake2b(content_hash(image) + regions.region_hash(mask).encode(), digest_size=16).hexdigest()
        path = self.folder / f"{name}.nii.gz"
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)
        relative = Path(os.path.relpath(path, self.context.root.resolve())).as_posix()
        return MaskRef(path=relative, sha256=hashlib.sha256(data).hexdigest())
