"""The five stages on the real-CT domain: base, FiRe-MPO with three seeds, SFT on the edits, DPO on references.

    OMP_NUM_THREADS=1 python benchmarks/ct_align.py FOLDER        # about 4 CPU minutes

Settings are those of the embedded recipe, which was chosen on phantoms; nothing was tuned on CT. Intervals
are bootstrapped over slices of the one held-out patient.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medpo_cli.demo.cases import write_cases
from medpo_cli.demo.ct import MODEL
from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.io.context import Context
from medpo_cli.io.output import FileOutput
from medpo_cli.io.stream import read_all
from medpo_cli.schema.config import AlignConfig, CorruptConfig, EditConfig, EvalConfig, SampleConfig
from medpo_cli.schema.records import Case, End, Pair, Record, Sample, Summary
from medpo_cli.stages import align, corrupt, edit, sample
from medpo_cli.stages import eval as evaluation
from medpo_cli.stages.demo import reference_pair

OFF: dict[str, Any] = {"beta": None, "gamma": None, "alpha": None, "nll": None}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"fire-mpo {seed}": ("pairs.v", {"seed": seed}) for seed in range(3)},
    "sft on edits": ("pairs", {**OFF, "method": "sft"}),
    "dpo on references": ("references", {**OFF, "method": "dpo", "beta": 0.5, "lr": 3e-4}),
}
SHOWN = (
    "report.finding_accuracy_full",
    "report.all_right",
    "report.hallucination",
    "report.omission",
    "report.words",
    "report.specificity",
    "report.flip_twin",
    "closed.accuracy",
    "closed.specificity",
)


def read(path: Path, kind: type[Any]) -> Iterator[Any]:
    """Records of one kind."""
    with path.open("rb") as stream:
        yield from read_all(stream, path.name, (kind,))


def write(path: Path, records: Iterable[Record]) -> None:
    """A finished stream."""
    output = FileOutput(path, force=True)
    for record in records:
        output.write(record)
    output.finish(End(stage="demo", run="benchmark", records=output.count, rejected=0))


def prepare(folder: Path, images: int, context: Context) -> None:
    """Cases, answers, pairs and corrupted images."""
    train, test = (write_cases(folder, domain="ct", split=split, images=images, seed=0) for split in ("train", "test"))
    asking = SampleConfig(model=str(MODEL), device="cpu", **SETTINGS["sample"])
    write(folder / "samples.jsonl", sample.run(read(train, Case), asking, context))
    write(folder / "pairs.jsonl", edit.run(read(folder / "samples.jsonl", Sample), EditConfig(), context))
    write(folder / "pairs.v.jsonl", corrupt.run(read(folder / "pairs.jsonl", Pair), CorruptConfig(), context))
    write(folder / "references.jsonl", map(reference_pair, read(folder / "samples.jsonl", Sample)))
    write(folder / "test.v.jsonl", corrupt.run(read(test, Case), CorruptConfig(), context))


def run_arm(folder: Path, name: str, context: Context) -> tuple[float, list[Summary]]:
    """CPU seconds of the alignment, and the summaries of base, aligned and difference."""
    source, settings = ARMS[name]
    adapter = folder / name.replace(" ", "-")
    config = AlignConfig(**{"model": str(MODEL), "device": "cpu", **SETTINGS["align"], **settings})
    start = time.process_time()
    steps = align.run(read(folder / f"{source}.jsonl", Pair), config, context, output=adapter)
    write(adapter.with_suffix(".steps.jsonl"), steps)
    seconds = time.process_time() - start
    judging = EvalConfig(model=str(MODEL), adapter=str(adapter), baseline=True, device="cpu", **SETTINGS["eval"])
    out = evaluation.run(read(folder / "test.v.jsonl", Case), judging, context)
    return seconds, [record for record in out if isinstance(record, Summary)]


def show(name: str, seconds: float, summary: Summary) -> None:
    """One line of the table."""
    cells = [
        f"{key}={m.value:.3f}[{m.low:.3f},{m.high:.3f}]" for key in SHOWN if (m := summary.metrics.get(key)) is not None
    ]
    who = f"{name}: {summary.arm}" + (f" - {summary.against}" if summary.against else "")
    print(who, f"({seconds:.0f} CPU s)", *cells, flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    context = Context(options.folder, reject=lambda _id, _error: None)
    prepare(options.folder, options.images, context)
    for number, name in enumerate(ARMS):
        seconds, summaries = run_arm(options.folder, name, context)
        for summary in summaries:
            if number == 0 or summary.arm != "base":
                show(name, seconds, summary)


if __name__ == "__main__":
    main()
