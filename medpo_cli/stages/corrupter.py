"""The work of ``corrupt`` on one record after another: destroyed region, control, ladder."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from medpo_cli.errors import ConfigError, RecordError
from medpo_cli.imaging import corruption, ladder, regions
from medpo_cli.imaging.control import find_control
from medpo_cli.imaging.image import Mask
from medpo_cli.imaging.operators import ESCALATION, NEED_NOTHING_AROUND, usual_growth
from medpo_cli.imaging.prepared import KEPT_IMAGES, Prepared, Recent
from medpo_cli.imaging.sight import Sight
from medpo_cli.imaging.window import checked_source
from medpo_cli.io.context import Context
from medpo_cli.io.files import sync_file, translate_os_error
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, Corrupted, ImageRef
from medpo_cli.stages.corrupt_target import Target, wanted_regions

KEPT_FILES = 4096


@dataclass(frozen=True)
class Step:
    """One attempt: operator, and pixels that the region is grown by."""

    operator: str
    grow: int


def steps(config: CorruptConfig) -> list[Step]:
    """What is tried in turn: the chosen operator, and with ``escalate`` those of ``ESCALATION``."""
    wanted = [(config.operator, 0), *(ESCALATION if config.escalate else ())]
    growth = {name: usual_growth(name) if config.grow is None else config.grow for name, _ in wanted}
    return list(dict.fromkeys(Step(name, growth[name] + more) for name, more in wanted))


class Corrupter:
    """The work on one record after another, with what neighbours share kept.

    Attributes:
        counts: how often something was left out, by message.
        seen: records so far.
        unsynced: names of files that were written and not yet forced to the disk.
    """

    def __init__(self, config: CorruptConfig, context: Context) -> None:
        if config.ladder == 1:
            raise ConfigError("ladder: at least 2 images (clean and corrupted), or 0 for none")
        self.config = config
        self.context = context
        self.folder = images_folder(config, context)
        self.counts: Counter[str] = Counter()
        self.seen = 0
        self.unsynced: set[str] = set()
        self._limits = corruption.Limits(config.max_remaining, config.max_tell)
        self._images: Recent[Prepared] = Recent(KEPT_IMAGES, lambda kept: kept.image.array.nbytes)
        self._made: Recent[corruption.Made] = Recent(KEPT_FILES)
        self._sites: Recent[tuple[Mask, str] | None] = Recent(
            KEPT_IMAGES * 8, lambda site: site[0].nbytes if site else 0
        )

    def attempt(self, record: Case) -> Case | RecordError:
        """``record`` with its corrupted images, as it is, or why it cannot be used."""
        self.seen += 1
        try:
            return self.corrupt(record)
        except RecordError as error:
            return error

    def corrupt(self, record: Case) -> Case:
        """``record`` with its corrupted images, or as it is.

        Raises:
            RecordError: the record cannot be used.
        """
        wanted = wanted_regions(record)
        if not wanted and self.config.fallback == "none":
            self.counts["no region to destroy"] += 1
            return record
        ref, field = record.images[0], "$.image[0]" if isinstance(record.image, list) else "$.image"
        image = self._prepared(ref, field)
        target = Target(self.context, record, ref, image)
        masks = [target.mask(number) for number, _ in wanted]
        finding = regions.union(masks) if masks else None
        if finding is None or regions.fraction(finding) > regions.MAX_FRACTION:
            return self._whole(record, target, too_large=finding is not None)
        step, region, done = self._destroyed(target, finding)
        control, reason = self._control(target, step, region, done) if self.config.control else (None, None)
        ext = self._with_ladder(target, region, done) if self.config.ladder else record.ext
        return msgspec.structs.replace(record, corrupted=done, control=control, no_control=reason, ext=ext)

    def sync(self) -> None:
        """Force the written images to the disk; until then a power failure could leave one empty, never wrong."""
        while self.unsynced:
            try:
                sync_file(self.folder / self.unsynced.pop())
            except OSError as error:
                raise translate_os_error(error, "corrupted image") from None

    def _whole(self, record: Case, target: Target, *, too_large: bool) -> Case:
        """The explicit fallback, without a control: the operator everywhere, for fills the paper's noise."""
        if self.config.fallback == "none":
            self.counts[f"region above {regions.MAX_FRACTION:.0%} of the image left alone"] += too_large
            return record
        everything = np.ones(target.image.image.shape, bool)
        operator = self.config.operator if self.config.operator in NEED_NOTHING_AROUND else "gaussian"
        done = self._made_of(target, everything, Step(operator, 0), "fallback-whole")
        return msgspec.structs.replace(record, corrupted=done, control=None, no_control="whole-image")

    def _destroyed(self, target: Target, finding: Mask) -> tuple[Step, Mask, Corrupted]:
        """The first step that leaves no more than the limits allow, its region, and what it made.

        Raises:
            RecordError: no step does; the code is that of the first.
        """
        problem: RecordError | None = None
        for step in steps(self.config):
            region = regions.grown(finding, step.grow, target.lesions) if step.grow else finding
            try:
                if step.grow and regions.fraction(region) > regions.MAX_FRACTION:
                    raise RecordError("mask-too-large", "the grown region is no longer local: --grow 0")
                done = self._made_of(target, region, step, "lesion", finding, self._limits)
                if done.region.changed == 0:
                    raise RecordError("no-effect", "destroying the region changed nothing: the mask marks no structure")
            except RecordError as error:
                problem = problem or RecordError(error.reason, error.message, error.path or "$.regions")
            else:
                if problem is not None:
                    self.counts["another operator or a grown region was needed"] += 1
                return step, region, done
        assert problem is not None  # noqa: S101 - there is at least one step
        raise problem

    def _control(
        self, target: Target, step: Step, region: Mask, done: Corrupted
    ) -> tuple[Corrupted | None, str | None]:
        """A control made as the lesion was, or None and why."""
        lesions = target.lesions
        about: corruption.Parameters = {"lesions": regions.region_hash(lesions)}
        if step.operator == "mirror":
            about["twinned"] = True
        key = corruption.key_of(target.image.content, region, "control", about, self.config.seed)
        ground, rng = target.image.ground(region), corruption.stream_of(key)[1]
        twinned = "twinned" in about
        site = self._sites.get_or(
            key, lambda: find_control(ground, region, regions.union([region, lesions]), rng, twinned=twinned)
        )
        if site is None:
            self.counts["no legal control site"] += 1
            return None, "no-control-site"
        try:
            return self._made_of(target, site[0], step, f"control-{site[1]}"), None
        except RecordError as error:
            self.counts["the operator cannot work at the control site"] += 1
            return None, error.reason

    def _with_ladder(self, target: Target, region: Mask, done: Corrupted) -> dict[str, Any]:
        """``ext`` with the clean image, those between, and the corrupted one as ``align.ladder``."""
        record = target.record
        extras(record)
        last = self.config.ladder - 1
        between = (self._rung(target, region, done, step / last) for step in range(1, last))
        rungs = [target.ref, *between, done.image]
        ext = record.ext or {}
        return {**ext, "align": {**ext.get("align", {}), "ladder": msgspec.to_builtins(rungs)}}

    def _rung(self, target: Target, region: Mask, done: Corrupted, share: float) -> ImageRef:
        """The image of which ``share`` of the evidence is destroyed."""
        about = {**done.parameters, "share": share}
        key = corruption.key_of(target.image.content, region, done.operator, about, self.config.seed)
        end = self.folder / Path(done.image.path).name
        made = self._made.get_or(key, lambda: ladder.write(target.image.image, end, key, region, share))
        return self._shown(made, target)

    def _prepared(self, ref: ImageRef, field: str) -> Prepared:
        source = checked_source(ref, self.context, field)
        if ref.frame is not None and ref.frame >= source.image.shape[2]:
            raise RecordError("frame-out-of-range", "the image has no such frame", f"{field}.frame")
        return self._images.get_or(source.sha256, lambda: Prepared(source.image))

    def _made_of(
        self, target: Target, mask: Mask, step: Step, route: str, finding: Mask | None = None,
        limits: corruption.Limits | None = None,
    ) -> Corrupted:  # fmt: skip
        """Destroy ``mask`` (once for all records that ask for the same) and describe it.

        Raises:
            RecordError: the operator cannot, or leaves more than ``limits`` allow.
        """
        image, config = target.image, self.config
        symmetry = image.symmetry(mask, target.lesions) if step.operator == "mirror" else None
        parameters = corruption.parameters_of(step.operator, config, image.image, target.ref.window, symmetry)
        if step.grow:
            parameters["grow"] = step.grow
        key = corruption.key_of(image.content, mask, step.operator, parameters, config.seed)
        window = image.window(target.ref)

        def make() -> corruption.Made:
            sight = Sight(image.image, mask, window, config.model_side, finding)
            return corruption.destroy(
                image.image, key, mask, step.operator, parameters, self.folder, sight=sight, limits=limits
            )

        made = self._made.get_or((key, window, limits is None), make)
        return Corrupted(
            image=self._shown(made, target), operator=step.operator, parameters=parameters, seed=made.seed,
            region=made.proof, route=route,
        )  # fmt: skip

    def _shown(self, made: corruption.Made, target: Target) -> ImageRef:
        """Reference to a written image, looked at as its source is."""
        self.unsynced.add(made.name)
        path = Path(os.path.relpath(self.folder / made.name, self.context.root.resolve())).as_posix()
        window = target.image.window(target.ref)
        return msgspec.structs.replace(target.ref, path=path, sha256=made.sha256, window=window)


def images_folder(config: CorruptConfig, context: Context) -> Path:
    """Absolute folder for the images.

    Raises:
        ConfigError: it leaves the root.
    """
    folder = (context.root / config.images).resolve()
    if not context.allow_outside and not folder.is_relative_to(context.root.resolve()):
        raise ConfigError("images: the folder leaves the root (--allow-outside permits it)")
    return folder
