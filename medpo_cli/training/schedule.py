"""Which records and which learning rate an optimizer step has: functions of the step alone."""

import hashlib
import math
from collections.abc import Sequence

import torch

from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.batches import Example


def steps_in(records: int, config: AlignConfig) -> int:
    """Optimizer steps of a run: whole batches of each epoch, the last one perhaps shorter."""
    return max(1, round(config.epochs * math.ceil(records / config.batch)))


def seed_of(what: str, *numbers: int) -> int:
    """A seed for one use of randomness, the same on every machine."""
    key = ":".join([what, *map(str, numbers)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big")


def batch_of(examples: Sequence[Example], step: int, config: AlignConfig) -> list[Example]:
    """The records of optimizer step ``step`` (from 0): a seeded order for each epoch, last batch shorter.

    With ``group_by_image`` records about one image follow each other, images in the seeded order.
    """
    per_epoch = math.ceil(len(examples) / config.batch)
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(seed_of("order", config.seed, epoch))
    order = torch.randperm(len(examples), generator=generator).tolist()
    if config.group_by_image:
        groups: dict[str, list[int]] = {}
        for i in order:
            groups.setdefault(examples[i].content, []).append(i)
        order = [i for group in groups.values() for i in group]
    return [examples[i] for i in order[position * config.batch : (position + 1) * config.batch]]


def learning_rate(step: int, total: int, config: AlignConfig) -> float:
    """Rate of optimizer step ``step`` (from 0): linear warm-up, then the schedule down to 0 at ``total``."""
    warm = round(config.warmup * total)
    if step < warm:
        return config.lr * (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    factor = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    return config.lr * factor[config.schedule]
