"""Speed of fact extraction and of the edit stage on demo-like answers, one core.

Run: ``python benchmarks/edit.py [records] [--file N]``; prints one JSON object. ``--file`` also runs
``medpo edit`` from file to file over N/10 and N records, for its speed with reading, checking and
writing, and for its peak memory: flat means that both peaks are the same.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.clauses import sentence_facts
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.words import sentences

SIDES, ZONES, SIZES = ("left", "right"), ("upper", "middle", "lower"), ("small", "large")
ABSENT = (
    "The heart is normal in size.",
    "No nodule is seen.",
    "No focal opacity is seen.",
    "No pleural effusion.",
    "No pneumothorax.",
)


def report(generator: random.Random) -> list[str]:
    """Five statements of the demo's language."""
    side, zone, size = (generator.choice(options) for options in (SIDES, ZONES, SIZES))
    present = (
        "The heart is enlarged.",
        f"There is a {size} nodule in the {side} {zone} zone.",
        f"There is a patchy opacity in the {generator.choice(SIDES)} {generator.choice(ZONES)} zone.",
        f"There is a {generator.choice(SIZES)} {generator.choice(SIDES)} pleural effusion.",
        f"There is a {generator.choice(SIZES)} {generator.choice(SIDES)} pneumothorax.",
    )
    return [yes if generator.random() < 0.42 else no for yes, no in zip(present, ABSENT, strict=True)]


def samples(count: int) -> Iterator[Sample]:
    """Reports of which each statement is wrong with probability 0.19, as in the demo's base."""
    generator = random.Random(0)
    for number in range(count):
        truth, other = report(generator), report(generator)
        said = [b if generator.random() < 0.19 else a for a, b in zip(truth, other, strict=True)]
        yield Sample(
            id=f"bench-{number}", image=ImageRef(path="x.png"), task="report", reference=" ".join(truth),
            prompt="Describe the findings on this chest image.", policy=Policy(model="m", digest="0" * 64),
            responses=[Response(text=" ".join(said))],
        )  # fmt: skip


def command(count: int, folder: Path) -> dict[str, float]:
    """CPU seconds and peak memory of ``medpo edit`` over a file of ``count`` samples.

    The peak of a child is never below that of this process, so the samples are written one by one.
    """
    source = folder / f"{count}.jsonl"
    end = {"schema": "medpo.end/1", "stage": "sample", "run": "bench", "records": count, "rejected": 0}
    with source.open("wb") as file:
        for sample in samples(count):
            file.write(msgspec.json.encode(sample) + b"\n")
        file.write(msgspec.json.encode(end) + b"\n")
    before = os.times()
    medpo = str(Path(sys.executable).parent / "medpo")
    subprocess.run([medpo, "edit", source, "-o", folder / f"{count}.pairs.jsonl", "--quiet"], check=True)
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"records": count, "records_per_cpu_s": round(count / seconds), "peak_mib": round(peak, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="?", default=3000)
    parser.add_argument("--file", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    count = arguments.records
    commands: list[dict[str, float]] = []
    if arguments.file:
        with tempfile.TemporaryDirectory() as folder:
            commands = [command(number, Path(folder)) for number in (arguments.file // 10, arguments.file)]
    records = list(samples(count))
    lexicon = load_lexicon()
    texts = [sample.responses[0].text for sample in records]
    start = time.process_time()
    for text in texts:
        for begin, end in sentences(text):
            sentence_facts(text[begin:end], lexicon)
    uncached = count / (time.process_time() - start)
    start = time.process_time()
    for text in texts:
        extract(text, lexicon)
    cached = count / (time.process_time() - start)
    rejects: list[str] = []
    context = Context(reject=lambda _id, error: rejects.append(error.reason))
    start = time.process_time()
    pairs: list[Pair] = list(run(records, EditConfig(), context))
    rate = count / (time.process_time() - start)
    result = {
        "records": count,
        "extract_reports_per_s_first_time": round(uncached),
        "extract_reports_per_s": round(cached),
        "edit_records_per_s": round(rate),
        "pairs": len(pairs),
        "rejected": len(rejects),
        "medpo_edit": commands,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
