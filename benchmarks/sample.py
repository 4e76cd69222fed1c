"""Several questions about one image: `sample`'s generation and `eval`'s scoring, together and one by one.

    python benchmarks/sample.py [--models llava-40m qwen3-vl-40m] [--questions 8] [--tokens 15] [--repeats 3]

CPU seconds of one process with one thread, medians; both ways take turns. The weights are random, so that every
answer has exactly --tokens tokens. ``library`` is transformers' own ``generate``, one question at a time: medpo's
greedy answers must be its answers, token by token.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from workload import models, pairs

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.load import load_model
from medpo_cli.models.score import Item, answer_logprobs
from medpo_cli.schema.records import Decoding


def main() -> None:
    """One table line for each model and stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["llava-40m", "qwen3-vl-40m"])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| model | stage | one by one, CPU s | together | ratio | library | equal |\n|---|---|---:|---:|---:|---:|---|"
    )
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="medpo-bench-") as folder:
            models.save_model(name, pairs.sentences(), Path(folder))
            vlm = load_model(folder, device="cpu")
        show_tokens(vlm)
        side, data = models.MODELS[name].side, pairs.make("vqa", options.questions, questions=options.questions)
        image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for stage, row in (
            ("generate", sampling(vlm, image, data, options)),
            ("score", scoring(vlm, image, data, options)),
        ):
            print(f"| {name} | {stage} | " + " | ".join(row) + " |")


def show_tokens(vlm: VisionLanguageModel) -> None:
    """Answers as token ids instead of text: the padded vocabulary has no text."""
    vlm.decode = lambda ids: json.dumps([int(i) for i in ids])  # type: ignore[method-assign]


def sampling(
    vlm: VisionLanguageModel, image: np.ndarray, data: list[dict[str, Any]], options: argparse.Namespace
) -> list[str]:
    """Cells of the table: greedy answers."""
    decoding = Decoding(max_tokens=options.tokens)
    requests = [Request(pair["prompt"], [image]) for pair in data]

    def alone() -> list[Any]:
        return [json.loads(generate(vlm, [request], decoding)[0][0].text) for request in requests]

    def together() -> list[Any]:
        return [json.loads(one[0].text) for one in generate(vlm, requests, decoding, batch=len(requests))]

    def library() -> list[Any]:
        return [by_library(vlm, request, options.tokens) for request in requests]

    seconds, results = turns([alone, together, library], options.repeats)
    equal = sum(a == b == c for a, b, c in zip(*results, strict=True))
    return cells(seconds, f"{seconds[2]:.2f}", f"{equal}/{len(data)} token for token")


@torch.no_grad()
def by_library(vlm: VisionLanguageModel, request: Request, tokens: int) -> list[int]:
    """Transformers' own greedy answer."""
    prompt = vlm.moved(vlm.encode_prompt(request.prompt, request.images))
    ids = prompt.input_ids[None]
    answer = vlm.base.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False,
        **prompt.vision, **vlm.family.token_inputs(ids),
    )  # fmt: skip
    found: list[int] = answer[0, ids.shape[1] :].tolist()
    return found


def scoring(
    vlm: VisionLanguageModel, image: np.ndarray, data: list[dict[str, Any]], options: argparse.Namespace
) -> list[str]:
    """Cells of the table: log-probabilities of given answers."""
    items: list[Item] = [(pair["prompt"], [image], pair["chosen"]) for pair in data]

    def alone() -> list[Any]:
        return [answer_logprobs(vlm, [item])[0] for item in items]

    def together() -> list[Any]:
        return answer_logprobs(vlm, items, batch=len(items))

    seconds, (one, all_) = turns([alone, together], options.repeats)
    gap = max(float((a - b).abs().max()) for a, b in zip(one, all_, strict=True))
    return cells(seconds, "", f"within {gap:.0e} nats")


def turns(forms: list[Callable[[], list[Any]]], repeats: int) -> tuple[list[float], list[list[Any]]]:
    """Median CPU seconds of each form after one warm-up, and what each gave."""
    seconds: list[list[float]] = [[] for _ in forms]
    results = [form() for form in forms]
    for _ in range(repeats):
        for form, times in zip(forms, seconds, strict=True):
            began = time.process_time()
            form()
            times.append(time.process_time() - began)
    return [statistics.median(times) for times in seconds], results


def cells(seconds: list[float], library: str, equal: str) -> list[str]:
    """Numbers as text."""
    return [f"{seconds[0]:.2f}", f"{seconds[1]:.2f}", f"{seconds[0] / seconds[1]:.1f}", library, equal]


if __name__ == "__main__":
    main()
