"""The whole loop on the embedded model: the same five ``run`` functions that the commands call."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpo_cli.demo import MODEL
from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.errors import BadInputError
from medpo_cli.io.context import Context, Progress
from medpo_cli.io.output import write_file
from medpo_cli.io.stream import read_file
from medpo_cli.schema.config import AlignConfig, CorruptConfig, EditConfig, EvalConfig, SampleConfig
from medpo_cli.schema.records import Case, Pair, Record, Sample, Score, Span, Step, Summary

DEFAULT_IMAGES = {"train": 300, "test": 100}
"""Pictures that ``sample`` and ``eval`` use when nothing is configured."""


@dataclass(frozen=True)
class Arm:
    """One way of aligning the embedded model.

    Attributes:
        name: column of the table and stem of the adapter's folder.
        pairs: file of the pairs it learns from.
        settings: what differs from the embedded recipe.
        page: whether the result page shows this arm.
    """

    name: str
    pairs: str
    settings: dict[str, Any]
    page: bool = False


def arms_of(seeds: int) -> list[Arm]:
    """FiRe-MPO with several seeds, and two controls on the same answers."""
    fire = [Arm(f"fire-mpo {seed}", "pairs.v.jsonl", {"seed": seed}, page=seed == 0) for seed in range(seeds)]
    off = {"beta": None, "gamma": None, "alpha": None, "nll": None}
    return [
        *fire,
        Arm("sft edits", "pairs.jsonl", {**off, "method": "sft"}),
        Arm("dpo refs", "references.jsonl", {**off, "method": "dpo", "beta": 0.5, "lr": 3e-4}),
    ]


def default_cases(folder: Path, split: str) -> Path:
    """The embedded cases that a stage reads when nothing is configured, written once.

    Test cases come with corrupted and control images, so that ``eval`` can measure grounding.
    """
    from medpo_cli.demo.cases import write_cases

    target = folder / ("test.v.jsonl" if split == "test" else f"{split}.jsonl")
    if not target.exists():
        cases = write_cases(folder, split=split, images=DEFAULT_IMAGES[split], seed=0)
        if split == "test":
            _corrupted(cases, target, Context(folder))
    return target


def base_model(domain: str) -> Path:
    """Folder of the embedded model that knows ``domain``: drawn phantoms or real CT crops."""
    if domain == "ct":
        from medpo_cli.demo.ct import MODEL as CT_MODEL

        return CT_MODEL
    return MODEL


def run(
    folder: Path,
    arms: Sequence[Arm],
    *,
    domain: str = "phantom",
    images: int,
    held_out: int,
    split: str = "test",
    context: Context,
) -> list[Summary]:
    """Sample, edit, corrupt, align and evaluate under ``folder``.

    Args:
        folder: for everything that is made.
        arms: what to align; the one with the page also scores the base.
        domain: ``phantom`` or ``ct``.
        images: training pictures, four cases each.
        held_out: pictures to score on; none is among the training ones.
        split: where those come from: ``test``, or ``validation`` to make a choice with.
        context: progress; its root is not used.

    Returns:
        Summaries of the base and of each arm, then of each arm against the base.
    """
    from medpo_cli.evaluation.summaries import summarise

    # One thread a process, set before torch is imported: more do not help a model of this size.
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare(folder, domain, images=images, held_out=held_out, split=split, progress=context.progress)
    context.progress.start("align and evaluate", len(arms))
    scores: dict[str, list[Score]] = {}
    versions: dict[str, str] = {}
    with _pool() as pool:
        waiting: dict[Future[list[Record]], Arm] = {
            pool.submit(align_and_score, folder, str(base_model(domain)), arm): arm for arm in arms
        }
        for done in as_completed(waiting):
            arm = waiting[done]
            for record in done.result():
                if isinstance(record, Score):
                    scores.setdefault("base" if record.arm == "base" else arm.name, []).append(record)
                elif isinstance(record, Summary):
                    versions = record.versions
            context.progress.advance()
            context.progress.note(f"{arm.name}: done")
    ordered = {name: scores[name] for name in ("base", *(arm.name for arm in arms))}
    summaries = summarise(ordered, resamples=10000, seed=0, versions=versions)
    _write(folder / "summary.jsonl", summaries, "demo")
    return summaries


def prepare(folder: Path, domain: str, *, images: int, held_out: int, split: str = "test", progress: Progress) -> None:
    """Cases, the model's own answers, pairs with and without corrupted images, held-out cases."""
    from medpo_cli.demo.cases import write_cases
    from medpo_cli.stages import edit, sample

    context = Context(folder, progress=progress, reject=lambda _id, _error: None)
    progress.note(f"drawing {images} training and {held_out} held-out images")
    train = write_cases(folder, domain=domain, split="train", images=images, seed=0)
    test = write_cases(folder, domain=domain, split=split, images=held_out, seed=0)
    asking = SampleConfig(model=str(base_model(domain)), **SETTINGS["sample"])
    _write(folder / "samples.jsonl", sample.run(read_file(train, Case), asking, context), "sample")
    _write(folder / "pairs.jsonl", edit.run(read_file(folder / "samples.jsonl", Sample), EditConfig(), context), "edit")
    _write(folder / "references.jsonl", map(reference_pair, read_file(folder / "samples.jsonl", Sample)), "demo")
    _corrupted(folder / "pairs.jsonl", folder / "pairs.v.jsonl", context)
    _corrupted(test, folder / "test.v.jsonl", context)


def reference_pair(sample: Sample) -> Pair:
    """The usual off-policy pair: the label file's wording chosen, the model's own answer rejected."""
    terse = (sample.ext or {}).get("terse") or sample.reference or ""
    answer = sample.responses[0].text
    shared = {name: getattr(sample, name) for name in Case.__struct_fields__}
    whole = Span(kind="other", chosen=(0, len(terse)), rejected=(0, len(answer)), source="reference")
    return Pair(**shared, policy=sample.policy, chosen=terse, rejected=answer, origin="corrected", spans=[whole])


def align_and_score(folder: Path, model: str, arm: Arm) -> list[Record]:
    """Train one arm and score it on the held-out cases; the base is scored once, with the page's arm."""
    from medpo_cli.stages import align
    from medpo_cli.stages import eval as evaluation

    context = Context(folder, reject=lambda _id, _error: None)
    adapter = folder / "adapters" / arm.name.replace(" ", "-")
    config = AlignConfig(**{"model": model, "device": "cpu", **SETTINGS["align"], **arm.settings})
    steps = align.run(read_file(folder / arm.pairs, Pair), config, context, output=adapter)
    history = adapter.with_suffix(".steps.jsonl")
    _write(history, steps, "align")
    page = str(folder / "report.html") if arm.page else ""
    judging = EvalConfig(
        model=model, adapter=str(adapter), baseline=arm.page, html=page, with_text=True, **SETTINGS["eval"]
    )
    training = list(read_file(history, Step))
    return list(evaluation.run(read_file(folder / "test.v.jsonl", Case), judging, context, training=training))


def _corrupted(source: Path, target: Path, context: Context) -> None:
    from medpo_cli.stages import corrupt

    # The phantoms' masks hold the whole blur of a finding: there is no rim to grow over.
    _write(target, corrupt.run(read_file(source, Case), CorruptConfig(grow=0), context), "corrupt")


def _write(path: Path, records: Iterable[Record], stage: str) -> None:
    write_file(path, _some(records, stage), stage=stage, run="demo")


def _some(records: Iterable[Record], stage: str) -> Iterator[Record]:
    """The records, of which there must be one."""
    record = None
    for record in records:
        yield record
    if record is None:
        raise BadInputError(f"the demo's stage {stage} made no records")


def _pool() -> ProcessPoolExecutor:
    """Two arms side by side."""
    return ProcessPoolExecutor(min(2, os.cpu_count() or 1), multiprocessing.get_context("spawn"))
