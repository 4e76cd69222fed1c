"""Preference pairs of exact lengths: every word is one token, a few stretches of three words differ.

vqa     15 answer tokens, one span of 3.
report  120 answer tokens, four spans of 3; the first divergence at 20, the last masked token at 98.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = (
    "the a in of no is there lung heart chest nodule opacity effusion zone field border mild dense patchy focal "
    "apical basal hilar pleural image shows seen normal enlarged clear sharp soft round single several new old"
).split()
CHOSEN, REJECTED = "left upper small".split(), "right lower large".split()
QUESTION = 36
KINDS: dict[str, tuple[int, list[int]]] = {"vqa": (15, [6]), "report": (120, [20, 45, 70, 96])}
"""By kind: tokens of an answer with its end token, first word of each span."""


def sentences() -> list[str]:
    """What a tokenizer must learn so that each word is one token, also the first of a text."""
    draw = random.Random(0)
    words = [*WORDS, *CHOSEN, *REJECTED]
    return [" ".join(draw.sample(words, len(words))) for _ in range(400)]


def make(kind: str, count: int, *, questions: int = 1, share_corrupted: bool = False) -> list[dict[str, Any]]:
    """``count`` pairs as plain dictionaries.

    Args:
        kind: ``vqa`` or ``report``.
        count: how many.
        questions: pairs in a row that ask about the same image.
        share_corrupted: they also share the corrupted image.
    """
    draw = random.Random(0)
    made = []
    for number in range(count):
        length, starts = KINDS[kind]
        words = draw.choices(WORDS, k=length - 1)
        sides = {name: _with(words, starts, edit) for name, edit in (("chosen", CHOSEN), ("rejected", REJECTED))}
        group = number // questions
        made.append(
            {
                "id": f"{kind}-{number}",
                "image": f"clean-{group}.png",
                "corrupted": f"bad-{group if share_corrupted else number}.png",
                "prompt": " ".join(draw.choices(WORDS, k=QUESTION)),
                **{name: " ".join(side) for name, side in sides.items()},
                "spans": [{name: _offsets(side, start, start + 3) for name, side in sides.items()} for start in starts],
            }
        )
    return made


def _with(words: list[str], starts: list[int], edit: list[str]) -> list[str]:
    words = list(words)
    for start in starts:
        words[start : start + 3] = edit
    return words


def _offsets(words: list[str], start: int, end: int) -> list[int]:
    first = len(" ".join(words[:start])) + 1
    return [first, first + len(" ".join(words[start:end]))]


def write(folder: Path, pairs: list[dict[str, Any]], side: int) -> None:
    """``pairs.jsonl`` and its pictures of ``side`` x ``side`` pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "pairs.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in pairs)
    for name in sorted({pair[key] for pair in pairs for key in ("image", "corrupted")}):
        noise = np.random.default_rng(list(name.encode())).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(folder / name)


def check_lengths(tokenizer: Any, pairs: list[dict[str, Any]], kind: str) -> None:
    """The promise of this file, for one tokenizer."""
    for pair in pairs:
        for name in ("chosen", "rejected"):
            found = len(tokenizer(pair[name], add_special_tokens=False)["input_ids"]) + 1
            if found != KINDS[kind][0]:
                raise ValueError(f"{kind}: {found} answer tokens instead of {KINDS[kind][0]}")
