"""Metric program for ``medpo eval --metrics``: GREEN (Ostmeier 2024) by its own package, from a local folder.

    [metric.green]
    command = "/opt/green/bin/python green.py {weights}"
    weights = "/models/GREEN-radllama2-7b"
    startup = 1800
    seconds = 120
    memory_gb = 0

Runs in an environment with the package green-score (tried: 0.0.12), which wants transformers 4.40: with transformers 5
the same prompt becomes other tokens, and the program ends. serving.py must lie beside it. Nothing is downloaded. The
package would run code that a model folder brings; a folder that brings any is refused.

Definition: the package's prompt and analysis (greedy, float16, prompt and analysis together 2048 tokens), one pair at a
time, on one GPU or the CPU. medpo reads the score from the analysis.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from serving import Scorer, digest, has_tokenizer, has_weights, serve

TRANSFORMERS = "4.40."


def refuse_code(folder: Path) -> None:
    """End the program if the folder brings code of its own, which the package would run."""
    settings = [json.loads(path.read_text("utf-8")) for path in folder.glob("*config.json")]
    if any("auto_map" in one for one in settings) or any(folder.rglob("*.py")):
        sys.exit("the model folder brings code of its own")


def load(folder: Path) -> Callable[[str, str], str]:
    """A function from answer and reference to the model's analysis."""
    if not version("transformers").startswith(TRANSFORMERS):
        sys.exit(f"transformers {TRANSFORMERS}x is needed: others make other tokens of the prompt")
    # With several GPUs in sight the package waits for its own launcher.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    import torch
    from green_score.green import GREEN
    from green_score.utils import make_prompt

    package = GREEN(str(folder), cpu=not torch.cuda.is_available(), compute_summary_stats=False)

    def analysis(answer: str, reference: str) -> str:
        with torch.inference_mode():
            (told,) = package.get_response({"prompt": [make_prompt(reference, answer)]})
        return str(told)

    return analysis


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser(description="GREEN's analysis of reports for medpo eval --metrics")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    there = has_tokenizer(given.folder) and has_weights(given.folder)
    if there:
        refuse_code(given.folder)

    def prepare() -> tuple[Scorer, str]:
        analysis = load(given.folder)
        told = f"1+green-score.{version('green-score')}.transformers.{version('transformers')}"
        asked = lambda answer, reference: {"analysis": analysis(answer, reference)}  # noqa: E731
        return asked, f"{told}.weights.{digest(given.folder)}"

    serve("green", {"analysis": "green"}, there, prepare)


if __name__ == "__main__":
    main()
