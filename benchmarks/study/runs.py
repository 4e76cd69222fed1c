"""One run: train an arm with one seed, score it on held-out cases and pairs. Finished runs are not repeated."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.io.context import Context, Progress
from medpo_cli.io.stream import read_file
from medpo_cli.schema.config import AlignConfig, EvalConfig
from medpo_cli.schema.records import Case, Pair, Score, Step, Summary
from medpo_cli.stages.demo import base_model
from study.data import CASES, PAIRS, need, write


@dataclass(frozen=True)
class Arm:
    """A way of aligning the embedded model.

    Attributes:
        name: column of the table.
        pairs: file of the pairs it learns from, made on demand.
        settings: of ``align``, on top of the adapter's size and the batch of the embedded recipe.
    """

    name: str
    pairs: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one run left: scores of cases, scores of pairs, CPU seconds of training (0 for the base)."""

    cases: list[Score]
    pairs: list[Score]
    seconds: float


SIZE = {name: SETTINGS["align"][name] for name in ("rank", "lora_alpha")}


def run_all(folder: Path, domain: str, arms: Sequence[Arm], seeds: int, progress: Progress) -> dict[str, list[Run]]:
    """The base and every arm with every seed, in that order; each result is kept in ``folder/runs``.

    Args:
        folder: made by ``data.make``.
        domain: whose model is aligned.
        arms: what to align, with distinct names.
        seeds: training seeds 0, 1, ... per arm.
        progress: where progress goes.
    """
    (folder / "runs").mkdir(exist_ok=True)
    found: dict[str, list[Run]] = {"base": [run_one(folder, domain, None, 0)]}
    progress.start("runs", len(arms) * seeds)
    for seed in range(seeds):
        for arm in arms:
            found.setdefault(arm.name, []).append(run_one(folder, domain, arm, seed))
            progress.advance()
            progress.note(f"{arm.name}, seed {seed}: done")
    return found


def run_one(folder: Path, domain: str, arm: Arm | None, seed: int) -> Run:
    """The base (``arm`` None) or an arm with one seed, from ``folder/runs`` if it is there."""
    key = "base" if arm is None else f"{fingerprint(arm)}-{seed}"
    path = folder / "runs" / key
    if not path.with_suffix(".pairs.jsonl").exists():
        _make(folder, domain, arm, seed, path)
    seconds = [step.seconds for step in read_file(path.with_suffix(".steps.jsonl"), Step)] if arm else []
    cases, pairs = (read_file(path.with_suffix(f".{kind}.jsonl"), Score) for kind in ("cases", "pairs"))
    return Run(list(cases), list(pairs), sum(seconds))


def fingerprint(arm: Arm) -> str:
    """Names an arm by what it does, so that a renamed one is not run again and a changed one is."""
    return hashlib.blake2b(msgspec.json.encode([arm.pairs, arm.settings], order="sorted"), digest_size=6).hexdigest()


def _make(folder: Path, domain: str, arm: Arm | None, seed: int, path: Path) -> None:
    from medpo_cli.stages import align
    from medpo_cli.stages import eval as evaluation

    model, adapter = str(base_model(domain)), ""
    context = Context(folder, reject=lambda _id, _error: None)
    if arm is not None:
        adapter = str(path.with_suffix(".adapter"))
        config = msgspec.convert(
            {"model": model, "device": "cpu", **SIZE, "curves": False, **arm.settings, "seed": seed}, AlignConfig
        )
        pairs = list(read_file(need(folder, arm.pairs), Pair))
        steps = list(align.run(pairs, config, context, output=Path(adapter)))
        write(path.with_suffix(".steps.jsonl"), steps)
    judging = EvalConfig(model=model, adapter=adapter, baseline=False, device="cpu", bootstrap=100, **SETTINGS["eval"])
    for name, kind, suffix in ((CASES, Case, ".cases.jsonl"), (PAIRS, Pair, ".pairs.jsonl")):
        records = evaluation.run(read_file(folder / name, kind), judging, context)
        write(path.with_suffix(suffix), (one for one in records if not isinstance(one, Summary)))
    for left in (adapter, f"{adapter}.checkpoints"):
        if adapter:
            shutil.rmtree(left, ignore_errors=True)
