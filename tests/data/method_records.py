"""Records that have every field any method reads, on the tiny models' language."""

from typing import Any

import msgspec
from data.training_pairs import PAIRS, QUESTION, YES

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.records import Case, ImageRef, Pair, Ranked, Ranking, Weights

TEXTS = {"*": [YES, "No, there is no pleural effusion.", "Yes, there is a small nodule.", "No."]}
LADDER = ["b.png", "c.png", "d.png", "e.png", "f.png"]


def rich_pairs(vlm: VisionLanguageModel) -> list[Pair]:
    """The pairs that have a corrupted image, with a reference, weights and everything in ``ext.align``."""
    made = []
    for number, pair in enumerate(pair for pair in PAIRS if pair.corrupted):
        sizes = {side: len(vlm.encode_answer(getattr(pair, side)).ids) - 1 for side in ("chosen", "rejected")}
        align: dict[str, Any] = {
            "token_weights": {side: [0.7 + 0.1 * (t % 7) for t in range(size)] for side, size in sizes.items()},
            "ladder": [{"path": path} for path in LADDER],
            "twin": {"image": {"path": "g.png"}, "answer": "No, there is no pleural effusion."},
            "degree": {"chosen": 0, "rejected": 1 + number},
        }
        made.append(
            msgspec.structs.replace(
                pair,
                reference="There is a small left pleural effusion.",
                weights=Weights(example=0.5 + 0.25 * number, flip=0.1 * (number + 1)),
                ext={"align": align, "kept": "as it was"},
            )
        )
    return made


def rankings(size: int = 4) -> list[Ranking]:
    """Two questions with ``size`` answers each, in no order, and the log-probabilities they were drawn at."""
    found = []
    for number, path in enumerate(("a.png", "c.png")):
        answers = [Ranked(text=text, reward=((i * 7 + number) % 5) / 5) for i, text in enumerate(TEXTS["*"][:size])]
        ext = {"align": {"old_logprobs": [-150.0 - i for i in range(size)]}}
        found.append(
            Ranking(
                id=f"list{number}",
                image=ImageRef(path=path),
                prompt=QUESTION,
                task="vqa-closed",
                responses=answers,
                ext=ext,
            )
        )
    return found


def records_for(method: str, vlm: VisionLanguageModel) -> list[Case]:
    """What ``method`` can learn from."""
    if method == "p3o":
        return list(rankings(2))
    return list(rankings()) if method in ("perpo", "s-dpo") else list(rich_pairs(vlm))
