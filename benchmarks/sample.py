"""Answers a second of `medpo sample`'s engine on a model of the demo's size, batched and one by one.

Run: OMP_NUM_THREADS=1 python benchmarks/sample.py [--images 32] [--questions 4] [--tokens 32]
The weights are random, so that every answer has exactly --tokens tokens: a pessimistic demo.
"""

import argparse
import time

import numpy as np
import torch

from medpo_cli.models import tiny
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.generate import Request, generate
from medpo_cli.schema.records import Decoding


def build() -> VisionLanguageModel:
    """CLIP 96 px / 16, hidden 128, 3 layers; Llama hidden 128, 3 layers: 1.2 M parameters, 37 image tokens."""
    model, processor = tiny.build_llava(
        image_size=96, patch_size=16, vision_hidden=128, vision_layers=3, vision_heads=4,
        hidden=128, layers=3, heads=4, kv_heads=4, intermediate=256,
    )  # fmt: skip
    return VisionLanguageModel(model.requires_grad_(False), processor)


def main() -> None:
    """Print one line for each way of batching."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vlm, draw = build(), np.random.default_rng(0)
    questions = ["Describe the findings on this chest image.", "Is there a nodule?", "Which side?", "Is there one?"]
    requests = [
        Request(questions[number % len(questions)], [image])
        for image in draw.integers(0, 255, (options.images, 96, 96, 3), dtype=np.uint8)
        for number in range(options.questions)
    ]
    print(f"{sum(p.numel() for p in vlm.base.parameters()):,} parameters, {options.tokens} tokens an answer")
    for batch in (1, 16, 32):
        some = requests[: max(len(requests) // 8, 1)] if batch == 1 else requests
        seconds = [_seconds(vlm, some, options.tokens, batch) for _ in range(options.repeats)]
        best = len(some) / min(seconds)
        print(f"batch {batch:3d}: {best:7.1f} answers/s of CPU time (best of {options.repeats})")


def _seconds(vlm: VisionLanguageModel, requests: list[Request], tokens: int, batch: int) -> float:
    begin = time.process_time()
    decoding = Decoding(max_tokens=tokens)
    if batch == 1:
        for request in requests:
            generate(vlm, [request], decoding, batch=1)
    else:
        generate(vlm, requests, decoding, batch=batch)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
