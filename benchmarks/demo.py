"""Every method on the embedded demo, three seeds each: prints a section of docs/results.md.

    python benchmarks/demo.py [--domain ct] [--images 500] [--held-out 300] [--seeds 3] [--output FOLDER]

All arms learn from the same answers of the same model and are scored on the same held-out phantoms.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpo_cli.cli.demo import ROWS, TITLES
from medpo_cli.cli.progress import make_progress
from medpo_cli.evaluation.headline import measure_of, number, unit
from medpo_cli.io.context import Context
from medpo_cli.io.log import Messages
from medpo_cli.schema.records import Summary
from medpo_cli.stages.demo import Arm, run

OFF: dict[str, Any] = {"beta": None, "gamma": None, "alpha": None, "nll": None}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "fire-mpo": ("pairs.v.jsonl", {}),
    "fire-mpo, gamma 0": ("pairs.jsonl", {"gamma": 0.0}),
    "fire-mpo, no likelihood": ("pairs.v.jsonl", {"nll": None, "lr": 3e-4}),
    "rrpo": ("pairs.jsonl", {**OFF, "method": "rrpo", "beta": 0.5, "lr": 3e-4}),
    "mask-dpo": ("pairs.jsonl", {**OFF, "method": "mask-dpo", "beta": 0.5, "lr": 3e-4}),
    "dpo on edits": ("pairs.jsonl", {**OFF, "method": "dpo", "beta": 0.5, "lr": 3e-4}),
    "dpo on references": ("references.jsonl", {**OFF, "method": "dpo", "beta": 0.5, "lr": 3e-4}),
    "sft on edits": ("pairs.jsonl", {**OFF, "method": "sft"}),
}
HEAD = """## {title}

Made by `python benchmarks/demo.py --domain {domain}`; {images} training and {held_out} held-out images, {seeds} seeds.
Each cell is the mean over the seeds (lowest to highest); the second number in brackets counts the seeds in which the
difference from the base is better (+) or worse (!) beyond its 95 % paired-bootstrap interval, clustered by image.

"""


def arms_of(seeds: int) -> list[Arm]:
    """Every method with every seed."""
    return [
        Arm(f"{name}#{seed}", pairs, {**settings, "seed": seed}, page=name == "fire-mpo" and seed == 0)
        for name, (pairs, settings) in METHODS.items()
        for seed in range(seeds)
    ]


def table(summaries: Sequence[Summary]) -> str:
    """Measures down, methods across."""
    values = {str(one.arm): one.metrics for one in summaries if one.against is None}
    changes = {str(one.arm): one.metrics for one in summaries if one.against is not None}
    lines = [f"| measure | base | {' | '.join(METHODS)} |", "|---|---:|" + "---:|" * len(METHODS)]
    for key in ROWS:
        if key not in values["base"] and not any(key in metrics for metrics in values.values()):
            continue
        base = values["base"].get(key)
        cells = [number(measure_of(key), base.value) if base else ""]
        cells += [cell(key, name, values, changes) for name in METHODS]
        lines.append(f"| {measure_of(key).label} ({unit(measure_of(key))}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(key: str, name: str, values: dict[str, Any], changes: dict[str, Any]) -> str:
    """Mean (lowest to highest) and in how many seeds it is better or worse."""
    from medpo_cli.evaluation.headline import verdict

    seeds = [arm for arm in values if arm.partition("#")[0] == name]
    found = [values[arm][key].value for arm in seeds if key in values[arm]]
    if not found:
        return ""
    measure = measure_of(key)
    verdicts = [verdict(measure, changes[arm].get(key)) for arm in seeds]
    marks = "".join(f" {sign}{verdicts.count(v)}" for v, sign in (("better", "+"), ("worse", "!")) if v in verdicts)
    span = f"{number(measure, min(found))}\N{EN DASH}{number(measure, max(found))}"
    return f"{number(measure, statistics.mean(found))} ({span}){marks}"


def main() -> None:
    """Run the study and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", choices=["phantom", "ct"], default="phantom")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    folder = options.output or Path(tempfile.mkdtemp(prefix="medpo-study-"))
    context = Context(folder, progress=make_progress(Messages("study")))
    summaries = run(
        folder,
        arms_of(options.seeds),
        domain=options.domain,
        images=options.images,
        held_out=options.held_out,
        context=context,
    )
    head = HEAD.format(title=TITLES[options.domain].capitalize(), **vars(options))
    print(head + table(summaries))


if __name__ == "__main__":
    main()
