"""What every arm of a study shares: cases, the base's answers, and pairs under several kinds of v'.

All of it is made from seeds, so a folder can be thrown away; made once per folder, the last file last.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.io.context import Context, Progress
from medpo_cli.io.output import write_file
from medpo_cli.io.stream import read_file
from medpo_cli.schema.config import CorruptConfig, EditConfig, SampleConfig
from medpo_cli.schema.records import Case, Pair, Record, Sample
from medpo_cli.stages.demo import base_model, prepare

OPERATORS: dict[str, dict[str, Any]] = {
    "pairs.noise.jsonl": {"operator": "gaussian", "sigma": 45.0},
    "pairs.crop.jsonl": {"operator": "area-crop", "fallback": "whole"},
    "pairs.mirror.jsonl": {"operator": "mirror"},
    "pairs.median.jsonl": {"operator": "ring-median"},
}
"""Pairs by file with the corruption that makes their v'; ``pairs.v.jsonl`` has the default one."""
WHOLE = {"pairs.crop.jsonl"}
"""Those that change the whole picture even where a lesion is known, as mDPO does."""
CASES, PAIRS = "test.v.jsonl", "judged.jsonl"
"""Held-out cases, and the pairs made of the base's answers to them; both with corrupted and control images."""
BARE = {"corrupted": None, "control": None, "no_control": None}
JUDGED = 100
"""Of so many held-out pictures; a pair costs six scored answers, a case four generated ones."""


def make(
    folder: Path,
    *,
    domain: str,
    split: str,
    images: int,
    held_out: int,
    progress: Progress,
    tasks: Collection[str] = (),
) -> None:
    """Fill ``folder`` unless it is full already.

    Args:
        folder: root of all paths.
        domain: ``phantom`` or ``ct``.
        split: where the held-out cases come from, ``test`` or ``validation``.
        images: training pictures.
        held_out: held-out pictures.
        progress: where progress goes.
        tasks: kinds of held-out cases to keep (empty: all).
    """
    if (folder / PAIRS).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, domain, images=images, held_out=held_out, split=split, progress=progress)
    if tasks:
        write(folder / CASES, [case for case in read_file(folder / CASES, Case) if case.task in tasks])
    asking = SampleConfig(model=str(base_model(domain)), device="cpu", **SETTINGS["sample"])
    _judge(folder, asking)


def need(folder: Path, name: str) -> Path:
    """The file of pairs called ``name``, made now if it is not there yet."""
    path = folder / name
    if not path.exists():
        write(path, _lesion_free(folder) if name == "pairs.twin.jsonl" else _corrupted(folder, name))
    return path


def write(path: Path, records: Iterable[Record]) -> None:
    """A file of records with its end record; nothing is there until it is whole."""
    write_file(path, records, stage="demo", run="study")


def _context(folder: Path) -> Context:
    return Context(folder, reject=lambda _id, _error: None)


def _judge(folder: Path, asking: SampleConfig) -> None:
    from medpo_cli.stages import corrupt, edit, sample

    context = _context(folder)
    cases = [msgspec.structs.replace(case, **BARE) for case in read_file(folder / CASES, Case)]
    pictures = list(dict.fromkeys(case.image.path for case in cases))[:JUDGED]
    cases = [case for case in cases if case.image.path in pictures]
    write(folder / "judged.samples.jsonl", sample.run(cases, asking, context))
    pairs = edit.run(read_file(folder / "judged.samples.jsonl", Sample), EditConfig(), context)
    write(folder / PAIRS, corrupt.run(pairs, CorruptConfig(grow=0), context))


def _corrupted(folder: Path, name: str) -> Iterator[Record]:
    from medpo_cli.stages import corrupt

    settings = CorruptConfig(control=False, grow=0, images=name.removesuffix(".jsonl"), **OPERATORS[name])
    pairs: Iterable[Pair] = read_file(folder / "pairs.jsonl", Pair)
    if name in WHOLE:
        pairs = map(_without_regions, pairs)
    yield from corrupt.run(pairs, settings, _context(folder))


def _without_regions(pair: Pair) -> Pair:
    spans = [msgspec.structs.replace(span, regions=None) for span in pair.spans]
    return msgspec.structs.replace(pair, regions=None, spans=spans)


def _lesion_free(folder: Path) -> Iterator[Pair]:
    """Pairs whose v' is the same phantom rendered without the lesions that the default corruption destroys.

    No clinical data set has such images: this is the ceiling of what a corruption can do.
    """
    from medpo_cli.demo.cases import png

    pictures = folder / "lesion-free"
    pictures.mkdir(exist_ok=True)
    for pair in read_file(folder / "pairs.v.jsonl", Pair):
        if pair.corrupted is None:
            yield pair
            continue
        labels = sorted({region.label for region in pair.regions or []})
        name = f"{Path(pair.image.path).stem}.{'.'.join(labels)}.png"
        if not (pictures / name).exists():
            (pictures / name).write_bytes(png(_without(pair.image.path, labels)))
        image = msgspec.structs.replace(pair.corrupted.image, path=f"lesion-free/{name}", sha256=None)
        yield msgspec.structs.replace(pair, corrupted=msgspec.structs.replace(pair.corrupted, image=image))


def _without(path: str, labels: list[str]) -> Any:
    import dataclasses

    from medpo_cli.demo.phantom import phantom

    _, split, index = Path(path).stem.split("-")
    image = phantom(split, 0, int(index))
    kept = {name: cover for name, cover in image.coverage.items() if name not in labels}
    return dataclasses.replace(image, coverage=kept).picture
