"""``medpo export``: pairs in the shape of other trainers. None of them knows spans, so those must be given up aloud."""

from collections.abc import Callable
from typing import Any

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Pair

Row = dict[str, Any]


def _paths(pair: Pair) -> list[str]:
    return [image.path for image in pair.images]


def _placeholders(pair: Pair) -> str:
    return "<image>" * len(pair.images) + pair.prompt


def _trl(pair: Pair) -> Row:
    def message(role: str, text: str) -> list[Row]:
        return [{"role": role, "content": text}]

    return {
        "id": pair.id, "images": _paths(pair), "prompt": message("user", pair.prompt),
        "chosen": message("assistant", pair.chosen), "rejected": message("assistant", pair.rejected),
    }  # fmt: skip


def _llama_factory(pair: Pair) -> Row:
    return {
        "id": pair.id, "conversations": [{"from": "human", "value": _placeholders(pair)}],
        "chosen": {"from": "gpt", "value": pair.chosen}, "rejected": {"from": "gpt", "value": pair.rejected},
        "images": _paths(pair),
    }  # fmt: skip


def _ms_swift(pair: Pair) -> Row:
    messages = [{"role": "user", "content": _placeholders(pair)}, {"role": "assistant", "content": pair.chosen}]
    return {"id": pair.id, "messages": messages, "rejected_response": pair.rejected, "images": _paths(pair)}


def _fire_mpo(pair: Pair) -> Row:
    if len(pair.images) > 1:
        raise RecordError("several-images", "this format holds one image", "$.image")
    row = {"id": pair.id, "qid": pair.id, "prompt": pair.prompt, "image_path": pair.images[0].path}
    row |= {side: _tagged(pair, side) for side in ("chosen", "rejected")}
    return row | ({} if pair.on_policy is None else {"was_correct": pair.on_policy == "chosen"})


def _tagged(pair: Pair, side: str) -> str:
    """The text with ``<mask>`` tags around its spans."""
    text: str = getattr(pair, side)
    if "<mask>" in text.lower() or "</mask>" in text.lower():
        raise RecordError("tags-inside", "the text itself holds a <mask> tag", f"$.{side}")
    for span in reversed(pair.spans):
        start, end = getattr(span, side)
        text = f"{text[:start]}<mask>{text[start:end]}</mask>{text[end:]}"
    return text


EXPORTS: dict[str, Callable[[Pair], Row]] = {
    "trl": _trl, "llama-factory": _llama_factory, "ms-swift": _ms_swift, "fire-mpo": _fire_mpo,
}  # fmt: skip
"""Formats that pairs can be written in."""

KEEPS_SPANS = frozenset({"fire-mpo"})
"""Those that hold spans."""
