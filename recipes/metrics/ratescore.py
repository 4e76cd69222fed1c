"""Metric program for ``medpo eval --metrics``: RaTEScore (Zhao 2024) by its own package, from local folders.

    [metric.ratescore]
    command = "/opt/rate/bin/python ratescore.py {weights} --matrix long"
    weights = ["/models/RaTE-NER-Deberta", "/models/BioLORD-2023-C"]

The first finds entities, the second tells synonyms. Runs in an environment with the package RaTEScore (tried: 0.6.0),
which wants medspacy; serving.py must lie beside it. Nothing is downloaded.

Definition: the package's, with its matrix of type affinities for reports (``long``) or sentences (``short``). Where one
side has no entity, the package gives 0.5. A text without a sentence of three characters has no value there at all: here
such an answer is 0, as an empty report earns nothing, and such a reference is an error.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from serving import Scorer, digest, has_tokenizer, has_weights, serve

SHORTEST = 3
"""Characters; the package leaves out shorter sentences."""


def load(entities: str, synonyms: str, matrix: str) -> Callable[[str, str], float]:
    """A function from answer and reference to RaTEScore."""
    os.environ["LOGURU_LEVEL"] = "ERROR"  # the sentence splitter logs every word of every report
    import torch
    from RaTEScore import RaTEScore

    gpu = torch.cuda.is_available()
    package = RaTEScore(bert_model=entities, eval_model=synonyms, use_gpu=gpu, affinity_matrix=matrix)

    def score(answer: str, reference: str) -> float:
        if len(answer.strip()) < SHORTEST:
            return 0.0
        (value,) = package.compute_score([answer], [reference])
        return float(value)

    return score


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser(description="RaTEScore of reports for medpo eval --metrics")
    parser.add_argument("entities", type=Path)
    parser.add_argument("synonyms", type=Path)
    parser.add_argument("--matrix", choices=("long", "short"), default="long")
    given = parser.parse_args()

    def prepare() -> tuple[Scorer, str]:
        from importlib.metadata import version

        score = load(str(given.entities), str(given.synonyms), given.matrix)
        told = f"1+{given.matrix}.RaTEScore.{version('RaTEScore')}.transformers.{version('transformers')}"
        weights = digest(given.entities, given.synonyms)
        return lambda answer, reference: {"values": {"f1": score(answer, reference)}}, f"{told}.weights.{weights}"

    there = all(has_tokenizer(one) and has_weights(one) for one in (given.entities, given.synonyms))
    serve("ratescore", {"values": ["f1"]}, there, prepare)


if __name__ == "__main__":
    main()
