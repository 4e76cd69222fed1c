"""Curves of one alignment step: cost against pairs in a batch, cost against vocabulary, memory against batch.

    python benchmarks/align_curves.py [--model llava-40m] [--kind vqa] [--batches 1 2 4 8 16]
        [--vocabularies 8192 32768 131072] [--repeats 2] [--png docs/images/align-curves.png] [--json FILE]

Whole processes as in align_step.py; medpo's full objective with nothing cached, beside the naive eight-pass form
with checkpointing for the vocabulary (two pairs a batch, to keep it short).
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from workload.cases import VARIANTS, Workspace
from workload.process import own

RANK = 24
VOCABULARY_BATCH = 2


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="llava-40m")
    parser.add_argument("--kind", choices=["vqa", "report"], default="vqa")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--png", type=Path, default=Path("docs/images/align-curves.png"))
    parser.add_argument("--json", type=Path, default=Path("docs/images/align-curves.json"))
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory(prefix="medpo-bench-") as temporary:
        space = Workspace(options.work or Path(temporary), "cpu")
        found = {
            "model": options.model,
            "kind": options.kind,
            "batch": points(space, options, "medpo", [(batch, 0) for batch in options.batches]),
            "vocabulary": {
                name: points(space, options, name, [(VOCABULARY_BATCH, size) for size in options.vocabularies])
                for name in ("medpo", "naive-checkpointing")
            },
        }
    print(json.dumps(found, indent=1))
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, options.png)


def points(
    space: Workspace, options: argparse.Namespace, variant: str, places: list[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Step seconds and memory above rest of one variant at each (batch, vocabulary); repetitions take turns."""
    found: list[dict[str, Any]] = [
        {"batch": batch, "vocabulary": size, "seconds": [], "above": []} for batch, size in places
    ]
    for _ in range(options.repeats):
        for one in found:
            one_step(space, options, variant, one)
    return found


def one_step(space: Workspace, options: argparse.Namespace, variant: str, one: dict[str, Any]) -> None:
    """One repetition, added to the point; both step counts tell the step from the start."""
    model = space.model(options.model, one["vocabulary"])
    job = {
        "model": str(model), "batch": one["batch"], "rank": RANK, "device": "cpu", "dtype": "float32",
        "quantize": "none",
        "pairs": str(space.data(options.model, model, options.kind, 2 * one["batch"], 1, False)),
        **VARIANTS[variant].options,
    }  # fmt: skip
    few, many = (1, 2) if variant.startswith("naive") else (1, 3)
    tool = VARIANTS[variant].tool
    used = []
    for steps in (few, many):
        result = space.scratch(tool) / "result.json"
        used.append(
            own(f"runners/{tool}.py", job | {"steps": steps, "result": str(result)}, log=result.with_name("log"))
        )
    measured = json.loads(result.read_text())
    one["seconds"].append((used[1].cpu - used[0].cpu) / (many - few))
    one["above"].append(measured["peak_bytes"] - measured["rest_bytes"])


def draw(found: dict[str, Any], path: Path) -> None:
    """Three panels: cost and memory against the batch, cost against the vocabulary."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (cost, memory, words) = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    batches = [one["batch"] for one in found["batch"]]
    cost.plot(batches, [statistics.median(one["seconds"]) for one in found["batch"]], "o-", color="#1f5fa8")
    cost.set(xlabel="pairs in a batch", ylabel="CPU seconds a step", title="cost")
    memory.plot(batches, [statistics.median(one["above"]) / 2**20 for one in found["batch"]], "o-", color="#1f5fa8")
    memory.set(xlabel="pairs in a batch", ylabel="peak above rest, MiB", title="memory")
    for (name, label), colour in zip(
        (("medpo", "medpo"), ("naive-checkpointing", "naive, checkpointing")), ("#1f5fa8", "#b3541e"), strict=True
    ):
        line = found["vocabulary"][name]
        sizes, seconds = ([one["vocabulary"] for one in line], [statistics.median(one["seconds"]) for one in line])
        words.plot(sizes, seconds, "o-", color=colour, label=label)
        words.set_xticks(sizes, [f"{size // 1024}k" for size in sizes])
    cost.set_xticks(batches)
    memory.set_xticks(batches)
    words.set(xlabel="vocabulary", ylabel=f"CPU seconds a step of {VOCABULARY_BATCH}", title="cost and vocabulary")
    words.legend(frameon=False)
    for panel in (cost, memory, words):
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.set_xlim(left=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{found['model']}, {found['kind']} lengths, full FiRe-MPO step", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
