"""Speed of fact extraction and of the edit stage on demo-like answers, one core.

Run: ``python benchmarks/edit.py [records]``; prints one JSON object.
``many_records.py`` has the command from file to file.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="?", default=3000)
    count = parser.parse_args().records
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
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
