"""Two defaults of ``align`` decided by experiment on the embedded demo's validation images.

    OMP_NUM_THREADS=1 python benchmarks/align_choices.py [scaling] [grouping] [--images 300] [--seeds 2]

``scaling``: plain LoRA scaling alpha / r against rank-stabilised alpha / sqrt(r), over ranks and learning rates.
``grouping``: records in a random order against records about one image in the same step.
Both train FiRe-MPO with the demo's other settings on the same pairs; held-out images are validation ones, which no
test of the results page has seen.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from medpo_cli.cli.progress import make_progress
from medpo_cli.evaluation.headline import measure_of, number, unit
from medpo_cli.io.context import Context
from medpo_cli.io.log import Messages
from medpo_cli.schema.records import Summary
from medpo_cli.stages.demo import Arm, run

ROWS = ("report.finding_accuracy", "report.hallucination", "report.omission", "report.specificity", "report.words")
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
RANKS = (16, 128)


def scaling(seeds: int) -> list[Arm]:
    """Every rank, rate and scaling; alpha is twice the rank, so that plain scaling is 2."""
    return [
        Arm(
            f"r{rank} {'rslora' if stabilised else 'plain'} lr {rate:.0e}#{seed}",
            "pairs.v.jsonl",
            {"rank": rank, "lora_alpha": 2.0 * rank, "use_rslora": stabilised, "lr": rate, "seed": seed},
        )
        for rank in RANKS
        for stabilised in (False, True)
        for rate in RATES
        for seed in range(seeds)
    ]


def grouping(seeds: int) -> list[Arm]:
    """Both orders with every seed."""
    return [
        Arm(
            f"{'grouped' if grouped else 'shuffled'}#{seed}", "pairs.v.jsonl", {"group_by_image": grouped, "seed": seed}
        )
        for grouped in (False, True)
        for seed in range(seeds)
    ]


def table(summaries: Sequence[Summary]) -> str:
    """Arms down, measures across; means over the seeds with lowest and highest."""
    found: dict[str, list[Summary]] = {}
    for one in summaries:
        if one.against is None:
            found.setdefault(str(one.arm).partition("#")[0], []).append(one)
    rows = [key for key in ROWS if all(key in one.metrics for group in found.values() for one in group)]
    lines = ["| arm | " + " | ".join(f"{measure_of(key).label} ({unit(measure_of(key))})" for key in rows) + " |"]
    lines.append("|---|" + "---:|" * len(rows))
    for name, group in found.items():
        cells = []
        for key in rows:
            values = [one.metrics[key].value for one in group]
            span = (
                ""
                if len(values) == 1
                else f" ({number(measure_of(key), min(values))} to {number(measure_of(key), max(values))})"
            )
            cells.append(number(measure_of(key), statistics.mean(values)) + span)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is asked and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=["scaling", "grouping"])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    for study in options.studies:
        arms = {"scaling": scaling, "grouping": grouping}[study](options.seeds)
        arms = [Arm(arm.name, arm.pairs, arm.settings, page=not i) for i, arm in enumerate(arms)]
        with tempfile.TemporaryDirectory(prefix="medpo-choices-") as folder:
            context = Context(Path(folder), progress=make_progress(Messages("study")))
            summaries = run(
                Path(folder),
                arms,
                images=options.images,
                held_out=options.held_out,
                split="validation",
                context=context,
            )
        print(f"## {study}\n\n{table(summaries)}\n")


if __name__ == "__main__":
    main()
