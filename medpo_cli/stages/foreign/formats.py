"""What the rows of each format say. Shapes: docs/how-to/import.md, with the sources."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from medpo_cli.errors import RecordError

Task = Literal["vqa-closed", "vqa-open", "report"]
_TAG = re.compile(r"</?mask>", re.IGNORECASE)
_SPACED_TAG = re.compile(r"( ?)</?mask>( ?)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\s*<image>\s*", re.IGNORECASE)
_CLOSED = frozenset({"yes", "no"})


@dataclass(frozen=True)
class Foreign:
    """One row in our terms; texts as they stand, tags included.

    Attributes:
        id: the row's own, if it has one.
        images: paths as written.
        prompt: the question.
        chosen, rejected: of a preference; empty for a case.
        reference: of a case.
        on_policy: the side that a model said, where the format tells.
        weight: of the example.
        tagged: changed words stand between ``<mask>`` tags.
        task, group: of a case.
        about: its ``organ`` and ``kind`` of question, where the format tells.
    """

    id: str
    images: tuple[str, ...]
    prompt: str
    chosen: str = ""
    rejected: str = ""
    reference: str | None = None
    on_policy: Literal["chosen", "rejected"] | None = None
    weight: float | None = None
    tagged: bool = False
    task: Task = "vqa-open"
    group: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)


Read = Callable[[Mapping[str, Any]], list[Foreign]]


def _text(row: Mapping[str, Any], *names: str) -> str:
    """The first of the fields that is there; it must be a string that says something."""
    for name in names:
        if name in row:
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                raise RecordError("field-malformed", "must be a string that is not empty", f"$.{name}")
            return value
    raise RecordError("field-missing", "the row lacks this field", f"$.{names[0]}")


def _images(row: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """Paths of the first of the fields: a string, a list of them, or objects with ``path``."""
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        listed = value if isinstance(value, list) else [value]
        paths = [one.get("path") if isinstance(one, dict) else one for one in listed]
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise RecordError("image-malformed", "must be a path or a list of paths", f"$.{name}")
        return tuple(map(str, paths))
    raise RecordError("image-missing", "the row names no image file", f"$.{names[0]}")


def _id(row: Mapping[str, Any], *names: str) -> str:
    found = next((row[name] for name in names if row.get(name) is not None), "")
    return str(found) if isinstance(found, (str, int)) else ""


def _said(value: Any, path: str) -> str:
    """The text of a message, a list with one message, or a string."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = value[-1]
    if isinstance(value, dict):
        value = value.get("content", value.get("value"))
    if isinstance(value, list):
        value = "".join(str(part.get("text", "")) for part in value if isinstance(part, dict))
    if not isinstance(value, str) or not value.strip():
        raise RecordError("field-malformed", "holds no text", path)
    return value


def question(text: str) -> str:
    """A prompt without image placeholders."""
    return _PLACEHOLDER.sub("\n", text).strip()


def _fire_mpo(row: Mapping[str, Any]) -> list[Foreign]:
    correct = row.get("was_correct")
    side: Literal["chosen", "rejected"] | None = None if correct is None else "chosen" if correct else "rejected"
    made = Foreign(
        _id(row, "id", "qid"), _images(row, "image_path", "image"), question(_text(row, "prompt", "question")),
        _text(row, "chosen"), _text(row, "rejected"), on_policy=side, tagged=True,
    )  # fmt: skip
    return [made]


def _rrpo(row: Mapping[str, Any]) -> list[Foreign]:
    made = Foreign(
        _id(row, "sample_id", "id"), _images(row, "image", "image_path"), question(_text(row, "question")),
        _text(row, "answer_masked", "answer"), _text(row, "pred_masked", "pred"), on_policy="rejected", tagged=True,
    )  # fmt: skip
    return [made]


def _rlhf_v(row: Mapping[str, Any]) -> list[Foreign]:
    inner = row.get("text", row)
    if isinstance(inner, str):
        import json

        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            raise RecordError("field-malformed", "is no JSON object", "$.text") from None
    if not isinstance(inner, dict):
        raise RecordError("field-malformed", "is no JSON object", "$.text")
    made = Foreign(
        _id(row, "idx", "id"), _images(row, "image_path", "image"), question(_text(inner, "question")),
        _text(inner, "chosen"), _text(inner, "rejected"), on_policy="rejected",
    )  # fmt: skip
    return [made]


def _turns(value: Any, path: str) -> list[tuple[str, str]]:
    """(role, text) of a conversation; roles are ``user`` and ``assistant``."""
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise RecordError("field-malformed", "must be a list of messages", path)
    roles = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
    found = []
    for number, one in enumerate(value):
        role = roles.get(str(one.get("from", one.get("role", ""))), "")
        if role:
            found.append((role, _said(one, f"{path}[{number}]")))
    return found


def _last_question(turns: Sequence[tuple[str, str]], path: str) -> str:
    asked = [text for role, text in turns if role == "user"]
    if len(asked) != 1:
        raise RecordError("several-turns", "only conversations with one question can be taken over", path)
    return question(asked[0])


def _mmedpo(row: Mapping[str, Any]) -> list[Foreign]:
    turns = _turns(row.get("conversations"), "$.conversations")
    other = _turns(row.get("rejected_conversations"), "$.rejected_conversations")
    answers = [[text for role, text in side if role == "assistant"] for side in (turns, other)]
    if not all(len(side) == 1 for side in answers):
        raise RecordError("several-turns", "only conversations with one answer can be taken over", "$.conversations")
    weight = row.get("weighted_score")
    if weight is not None and (not isinstance(weight, (int, float)) or not 0 <= weight <= 1):
        raise RecordError("field-malformed", "must be a number from 0 to 1", "$.weighted_score")
    made = Foreign(
        _id(row, "id"), _images(row, "image", "images"), _last_question(turns, "$.conversations"),
        answers[0][0], answers[1][0], weight=weight,
    )  # fmt: skip
    return [made]


def _trl(row: Mapping[str, Any]) -> list[Foreign]:
    made = Foreign(
        _id(row, "id"), _images(row, "images", "image"), question(_said(row.get("prompt"), "$.prompt")),
        _said(row.get("chosen"), "$.chosen"), _said(row.get("rejected"), "$.rejected"),
    )  # fmt: skip
    return [made]


def _llama_factory(row: Mapping[str, Any]) -> list[Foreign]:
    turns = _turns(row.get("conversations", row.get("messages")), "$.conversations")
    made = Foreign(
        _id(row, "id"), _images(row, "images", "image"), _last_question(turns, "$.conversations"),
        _said(row.get("chosen"), "$.chosen"), _said(row.get("rejected"), "$.rejected"),
    )  # fmt: skip
    return [made]


def _ms_swift(row: Mapping[str, Any]) -> list[Foreign]:
    turns = _turns(row.get("messages"), "$.messages")
    answers = [text for role, text in turns if role == "assistant"]
    if len(answers) != 1:
        raise RecordError("several-turns", "only conversations with one answer can be taken over", "$.messages")
    if "rejected_response" not in row and "rejected_messages" not in row:
        raise RecordError("field-missing", "pairs of images alone have no rejected answer", "$.rejected_response")
    rejected = row.get("rejected_response", row.get("rejected_messages"))
    made = Foreign(
        _id(row, "id"), _images(row, "images", "image"), _last_question(turns, "$.messages"), answers[0],
        _said(rejected, "$.rejected_response"),
    )  # fmt: skip
    return [made]


def _vqa(row: Mapping[str, Any], image: str) -> list[Foreign]:
    answer = row.get("answer")
    answer = str(answer) if isinstance(answer, (int, float)) else _text(row, "answer")
    kind = str(row.get("answer_type", "")).strip().upper()
    closed = kind == "CLOSED" or (not kind and answer.strip().lower() in _CLOSED)
    images = _images(row, image, "image")
    told = {"organ": ("location", "image_organ"), "kind": ("content_type", "question_type")}
    found = {key: next((row[name] for name in names if row.get(name)), None) for key, names in told.items()}
    made = Foreign(
        _id(row, "qid", "id"), images, _text(row, "question").strip(), reference=answer.strip(),
        task="vqa-closed" if closed else "vqa-open", group=images[0],
        about={key: value for key, value in found.items() if isinstance(value, str)},
    )  # fmt: skip
    return [made]


def _iu_xray(row: Mapping[str, Any]) -> list[Foreign]:
    name = _id(row, "id")
    made = Foreign(
        name, _images(row, "image_path", "image"), "Describe the findings on this chest image.",
        reference=_text(row, "report").strip(), task="report", group=name or None,
    )  # fmt: skip
    return [made]


def _llava(row: Mapping[str, Any]) -> list[Foreign]:
    """Each question with its answer is a case; later ones of a conversation count on their own."""
    turns = _turns(row.get("conversations"), "$.conversations")
    name, images = _id(row, "id"), _images(row, "image", "images")
    pairs = [(a, b) for a, b in pairwise(turns) if (a[0], b[0]) == ("user", "assistant")]
    if not pairs:
        raise RecordError("field-malformed", "no question with an answer", "$.conversations")
    return [
        Foreign(
            f"{name}.{number}" if name and len(pairs) > 1 else name, images, question(asked), reference=said.strip(),
            task="vqa-closed" if said.strip().rstrip(".").lower() in _CLOSED else "vqa-open", group=images[0],
        )
        for number, ((_, asked), (_, said)) in enumerate(pairs)
    ]  # fmt: skip


PAIRS: dict[str, Read] = {
    "fire-mpo": _fire_mpo, "rrpo": _rrpo, "rlhf-v": _rlhf_v, "mmedpo": _mmedpo, "trl": _trl,
    "llama-factory": _llama_factory, "ms-swift": _ms_swift,
}  # fmt: skip
"""Formats of preferences."""

CASES: dict[str, Read] = {
    "vqa-rad": lambda row: _vqa(row, "image_name"), "slake": lambda row: _vqa(row, "img_name"), "iu-xray": _iu_xray,
    "llava": _llava,
}  # fmt: skip
"""Formats of questions with their truth."""


def untagged(text: str, path: str) -> str:
    """The text without its ``<mask>`` tags.

    Raises:
        RecordError: ``tags-unbalanced``.
    """
    depth = 0
    for tag in _TAG.finditer(text):
        depth += -1 if tag.group().startswith("</") else 1
        if depth not in (0, 1):
            break
    if depth:
        raise RecordError("tags-unbalanced", "a <mask> tag is not closed, or closed twice", path)
    return _SPACED_TAG.sub(lambda tag: " " if tag[1] or tag[2] else "", text).strip()
