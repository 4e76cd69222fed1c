"""Moving the paths inside records from one root to another.

A record's paths are relative to the folder of the file it stands in. Where a stage reads
``data/cases.jsonl`` and writes to the current folder, the paths gain ``data/``.
"""

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
    """The record with ``prefix`` before every relative path (``ext.twins`` included)."""
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
        ext=_moved_twins(record.ext, prefix),
    )


def _fields(part: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(part)


def _moved_twins(ext: dict[str, Any] | None, prefix: str) -> dict[str, Any] | None:
    twins = (ext or {}).get("twins")
    if not ext or not isinstance(twins, dict):
        return ext
    return {**ext, "twins": {label: prefix + str(path) for label, path in twins.items()}}
