"""What no stage makes, put into pairs of the demo, so that every method can be run on them."""

from typing import Any

import msgspec

from medpo_cli.demo.language import DENIED
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.records import Pair, Weights


def completed(pair: Pair, method: str, vlm: VisionLanguageModel) -> Pair:
    """``pair`` with the fields that only a user's own data has, as far as ``method`` reads them."""
    number = sum(pair.id.encode())
    align: dict[str, Any] = {}
    weights = None
    match method:
        case "tis-dpo" | "tis-dpo-kl":
            align["token_weights"] = {side: _weights(getattr(pair, side), vlm) for side in ("chosen", "rejected")}
        case "spo":
            align["degree"] = {"chosen": 0, "rejected": 1 + number % 4}
        case "sympo":
            finding, path = next(iter((pair.ext or {})["twins"].items()))
            align["twin"] = {"image": {"path": path}, "answer": DENIED[finding]}
        case "rosepo":
            weights = Weights(flip=0.1 * (number % 5))
        case "mmedpo":
            weights = Weights(example=0.25 * (1 + number % 4))
    if align:
        return msgspec.structs.replace(pair, ext={**(pair.ext or {}), "align": {**extras_of(pair), **align}})
    return msgspec.structs.replace(pair, weights=weights)


def has_twin(pair: Pair) -> bool:
    """Whether a lesion-free picture with a known answer belongs to the pair."""
    return pair.task == "vqa-closed" and len((pair.ext or {}).get("twins", {})) == 1


def extras_of(pair: Pair) -> dict[str, Any]:
    """``ext.align`` as it is."""
    found: dict[str, Any] = (pair.ext or {}).get("align", {})
    return found


def _weights(text: str, vlm: VisionLanguageModel) -> list[float]:
    """A weight a token between .7 and 1.3, the end token left out."""
    return [0.7 + 0.1 * (place % 7) for place in range(len(vlm.encode_answer(text).ids) - 1)]
