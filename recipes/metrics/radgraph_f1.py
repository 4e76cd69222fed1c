"""Metric program for ``medpo eval --metrics``: RadGraph F1 (Jain 2021, Delbrouck 2022) by the package radgraph.

    [metric.radgraph]
    command = "/opt/radgraph/bin/python radgraph_f1.py {weights} --model radgraph-xl"
    weights = ["/models/radgraph-xl", "/models/BiomedNLP-PubMedBERT"]

The first is what the published archive of the model holds (config.json, vocabulary, weights.th), unpacked. The second
is the encoder that its config.json names: only config.json and the vocabulary are read. Runs in an environment with
radgraph (tried: 0.1.18, on transformers 4.40.0; it fails on 5.23). serving.py must lie beside it; this file must not
be called radgraph.py, which would hide the package. Nothing is downloaded, the folders are not written to; weights may
hold tensors and no code.

Definition: the package's F1 over sets, 0 where one side has no entity. ``simple``: entities as words and label;
``partial``: and whether they have a relation; ``complete``: and each relation with its target. Usually reported
as "RadGraph F1": partial.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from serving import Scorer, digest, has_tokenizer, serve

VALUES = ["simple", "partial", "complete"]
MODELS = ("radgraph", "radgraph-xl", "modern-radgraph-xl")
Score = dict[str, float]


def lay_out(cache: Path, model: str, weights: Path, encoder: Path) -> None:
    """Make the folder that the package looks into: the model's files, with the encoder's local folder for its name."""
    folder = cache / model
    folder.mkdir()
    config = json.loads((weights / "config.json").read_text("utf-8"))
    for part in (config["dataset_reader"]["token_indexers"], config["model"]["embedder"]["token_embedders"]):
        part["bert"]["model_name"] = str(encoder.resolve())
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    shutil.copytree(weights / "vocabulary", folder / "vocabulary")  # the package locks a file in it
    (folder / "weights.th").symlink_to((weights / "weights.th").resolve())


def load(weights: Path, encoder: Path, model: str) -> Callable[[str, str], Score]:
    """A function from answer and reference to F1 of the three kinds."""
    from radgraph import F1RadGraph

    with tempfile.TemporaryDirectory() as cache:
        lay_out(Path(cache), model, weights, encoder)
        package = F1RadGraph(reward_level="all", model_type=model, model_cache_dir=cache)

    def score(answer: str, reference: str) -> Score:
        rewards = package(refs=[reference.strip()], hyps=[answer.strip()])[1]
        return {name: float(one) for name, (one,) in zip(VALUES, rewards, strict=True)}

    return score


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser(description="RadGraph F1 of reports for medpo eval --metrics")
    parser.add_argument("weights", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--model", choices=MODELS, default="radgraph-xl", help="which one the weights are")
    given = parser.parse_args()

    def prepare() -> tuple[Scorer, str]:
        from importlib.metadata import version

        score = load(given.weights, given.encoder, given.model)
        told = f"1+{given.model}.radgraph.{version('radgraph')}.transformers.{version('transformers')}"
        values = lambda answer, reference: {"values": score(answer, reference)}  # noqa: E731
        return values, f"{told}.weights.{digest(given.weights / 'weights.th')}"

    files = [given.weights / name for name in ("config.json", "weights.th", "vocabulary")]
    serve("radgraph", {"values": VALUES}, all(map(Path.exists, files)) and has_tokenizer(given.encoder), prepare)


if __name__ == "__main__":
    main()
