"""Speed of scoring reports without a model: by default (rules, BLEU, ROUGE-L), and with ``--wording`` (CIDEr).

Run: ``python benchmarks/report_metrics.py [reports]``; prints one JSON object. One core, reading and writing left out,
the bootstrap (10,000 draws) timed apart. Sentences repeat, so that facts are often known already; with ``--fresh``
every sentence is read anew, as if no two were alike.
"""

import json
import sys
import time

from facts import reports

from medpo_cli.evaluation.summaries import summarise
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample, Score
from medpo_cli.stages.eval import run
from medpo_cli.text import facts

TARGET = 200


def main() -> None:
    """Measure and print."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    count = numbers[0] if numbers else 1000
    if "--fresh" in sys.argv:
        facts._CACHED_LENGTH = -1
    texts = reports(count + 1)
    samples = [
        Sample(
            id=f"r{k}", image=ImageRef(path="x.png"), prompt="Describe.", reference=texts[k + 1], task="report",
            policy=Policy(model="m", digest="0" * 64), responses=[Response(text=texts[k])],
        )
        for k in range(count)
    ]  # fmt: skip
    rates, seconds = {}, {}
    for name, wording in (("default", False), ("wording", True)):
        facts._cached.cache_clear()
        config = EvalConfig(wording=wording, bootstrap=100)
        start = time.process_time()
        scores = [one for one in run(samples, config, Context()) if isinstance(one, Score)]
        rates[name] = count / (time.process_time() - start)
        start = time.process_time()
        summarise({"given": scores}, resamples=10000, seed=0, versions={})
        seconds[name] = time.process_time() - start
    told = {"reports": count, "target": TARGET, "reports_per_second": rates, "summary_seconds": seconds}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
