"""Moving the paths inside records from one root to another.

A record's paths are relative to the folder of the file it stands in. Where a stage reads
``data/cases.jsonl`` and writes to the current folder, the paths gain ``data/``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from medpo_cli.schema.records import Case, Corrupted, ImageRef, MaskRef, Record, Region

R = TypeVar("R", bound=Record)


def prefix_between(inner: Path, outer: Path) -> str | None:
    """What to put before paths relative to ``inner`` to make them relative to ``outer``.

    Empty if they are the same folder, None if ``inner`` does not lie inside ``outer``.
    """
    inner, outer = inner.resolve(), outer.resolve()
    if inner == outer:
        return ""
    return inner.relative_to(outer).as_posix() + "/" if inner.is_relative_to(outer) else None


def rebase(record: R, prefix: str) -> R:
    """The record with ``prefix`` before every relative path (those of ``ext.twins`` and ``ext.align`` included)."""
    if not prefix or not isinstance(record, Case):
        return record

    def moved(path: str) -> str:
        return path if path.startswith("/") else prefix + path

    def image(ref: ImageRef) -> ImageRef:
        return msgspec.structs.replace(ref, path=moved(ref.path))

    def region(old: Region) -> Region:
        mask = None if old.mask is None else MaskRef(**{**_fields(old.mask), "path": moved(old.mask.path)})
        return msgspec.structs.replace(old, mask=mask)

    def corrupted(old: Corrupted | None) -> Corrupted | None:
        return None if old is None else msgspec.structs.replace(old, image=image(old.image))

    return msgspec.structs.replace(
        record,
        image=[image(i) for i in record.image] if isinstance(record.image, list) else image(record.image),
        regions=None if record.regions is None else [region(r) for r in record.regions],
        corrupted=corrupted(record.corrupted),
        control=corrupted(record.control),
        ext=_moved_ext(record.ext, moved),
    )


def _fields(part: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(part)


def _moved_ext(ext: dict[str, Any] | None, moved: Callable[[str], str]) -> dict[str, Any] | None:
    """``ext`` with its image paths moved; what has not the expected form is left for its reader to refuse."""
    if not ext:
        return ext
    changed = dict(ext)
    if isinstance(twins := ext.get("twins"), dict):
        changed["twins"] = {label: moved(str(path)) for label, path in twins.items()}
    if isinstance(align := ext.get("align"), dict):
        changed["align"] = _moved_align(align, moved)
    return changed


def _moved_align(align: dict[str, Any], moved: Callable[[str], str]) -> dict[str, Any]:
    """``ext.align`` with the paths of its ladder and of its twin moved."""

    def image(ref: Any) -> Any:
        known = isinstance(ref, dict) and isinstance(ref.get("path"), str)
        return {**ref, "path": moved(ref["path"])} if known else ref

    changed = dict(align)
    if isinstance(ladder := align.get("ladder"), list):
        changed["ladder"] = [image(ref) for ref in ladder]
    if isinstance(twin := align.get("twin"), dict) and "image" in twin:
        changed["twin"] = {**twin, "image": image(twin["image"])}
    return changed
