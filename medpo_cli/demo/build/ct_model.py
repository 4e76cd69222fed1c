"""Make the CT demo model from the shipped data: pictures, tower, frozen features, language (maintainers only).

``python -m medpo_cli.demo.build.ct_model --out FOLDER --cache FOLDER``. One thread and fixed step counts:
the same machine gives the same weights again. What is in the cache is not made again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medpo_cli.demo.build.ct_measure import measure
from medpo_cli.demo.build.ct_pictures import Pictures, held_out_pictures, load, training_pictures
from medpo_cli.demo.build.ct_teaching import questions, reports
from medpo_cli.demo.build.ct_tower import MEAN, STD, Heads, Schedule, features, tower_scores, train_tower
from medpo_cli.demo.build.tuning import Encoder, Shuffled, fit_projector, train_language
from medpo_cli.demo.ct.language import every_text
from medpo_cli.models.load import load_model
from medpo_cli.models.tiny import save
from medpo_cli.models.tiny_conv import build_llava_conv

SEED = 0
TOWER_SCENES = {11: 10000, 12: 10000}
LANGUAGE_SCENES = {13: 6000}
TOWER = Schedule(steps=5000, batch=32, lr=2e-3)
LANGUAGE_STEPS, LANGUAGE_BATCH, LANGUAGE_LR = 700, (32, 32), 3e-3
SATELLITE, UNREPORTED = 0.6, 0.3
MEASURED = 500


def log(line: str) -> None:
    """A line of progress with CPU seconds."""
    print(f"[{time.process_time():7.0f} s] {line}", flush=True)


def cached(path: Path, make: Any) -> Pictures:
    """Pictures from ``path``, made and written there first if need be."""
    if not path.exists():
        made: Pictures = make()
        made.save(path)
        log(f"drew {len(made.grey)} pictures")
        return made
    return load(path)


def joined(parts: list[Pictures]) -> Pictures:
    """Several sets as one."""
    names = ("grey", "truth", "cells", "texture")
    return Pictures(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def training_set(cache: Path, scenes: dict[int, int]) -> Pictures:
    """The training pictures of several seeds."""
    return joined(
        [
            cached(cache / f"tr{seed}.npz", lambda s=seed, n=count: training_pictures(n, s))
            for seed, count in scenes.items()
        ]
    )


def held_out(cache: Path, split: str) -> Pictures:
    """The pictures that the model is measured on: the first of `write_cases` with seed 0."""
    return cached(cache / f"{split}.npz", lambda: held_out_pictures(split, MEASURED, 0))


def tower_into(model: Any, cache: Path, steps: int) -> None:
    """Train the model's tower, or load it from the cache."""
    tower, path = model.model.vision_tower, cache / f"tower{steps}.pt"
    if not path.exists():
        schedule = Schedule(steps, TOWER.batch, TOWER.lr)
        heads = train_tower(tower, tower.config.hidden_size, training_set(cache, TOWER_SCENES), schedule, log)
        torch.save({"tower": tower.state_dict(), "heads": heads.state_dict()}, path)
    state = torch.load(path, weights_only=True)
    tower.load_state_dict(state["tower"])
    tower.eval().requires_grad_(False)
    heads = Heads(tower.config.hidden_size)
    heads.load_state_dict(state["heads"])
    for split in ("validation", "test"):
        log(f"tower alone, {split}: {tower_scores(tower, heads, held_out(cache, split))}")


def teach(model: Any, processor: Any, cache: Path, steps: int, flaws: tuple[float, float]) -> None:
    """Train projector and language model on cached features of the frozen tower."""
    data = training_set(cache, LANGUAGE_SCENES)
    tokens = features(model.model.vision_tower, data.grey)
    log("cached features")
    torch.manual_seed(SEED)
    fit_projector(model, tokens)
    satellite, unreported = flaws
    streams = [
        Shuffled(reports(data, SEED, satellite=satellite, unreported=unreported), LANGUAGE_BATCH[0], SEED),
        Shuffled(questions(data, SEED), LANGUAGE_BATCH[1], SEED + 1),
    ]
    encoder = Encoder(processor, tokens.shape[1])
    train_language(model, encoder, tokens, streams, steps=steps, lr=LANGUAGE_LR, log=log)


def main() -> None:
    """Make, save and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--tower-steps", type=int, default=TOWER.steps)
    parser.add_argument("--language-steps", type=int, default=LANGUAGE_STEPS)
    parser.add_argument("--satellite", type=float, default=SATELLITE)
    parser.add_argument("--unreported", type=float, default=UNREPORTED)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    model, processor = build_llava_conv(every_text(), mean=MEAN, std=STD, seed=SEED)
    tower_into(model, options.cache, options.tower_steps)
    teach(model, processor, options.cache, options.language_steps, (options.satellite, options.unreported))
    save(options.out, model.half(), processor)
    model = load_model(options.out).model
    encoder = Encoder(processor, model.config.image_seq_length)
    result = {split: measure(model, encoder, held_out(options.cache, split)) for split in ("validation", "test")}
    (options.out / "measured.json").write_text(json.dumps(result, indent=1) + "\n")
    log(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
