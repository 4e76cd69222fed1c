"""How a language model is asked: fixed instructions, data in which nothing can look like an instruction, a JSON reply.

Texts of records travel as JSON strings in which no character that could open a control token ("<", "[") or
end the string stands unescaped. Replies are read strictly.
"""

import json
from typing import Any, TypeVar

import msgspec

from medpo_cli.errors import RecordError

T = TypeVar("T")


class Asked(msgspec.Struct, frozen=True):
    """One request: fixed instructions, data as JSON, the schema of the reply."""

    instructions: str
    data: str
    schema: dict[str, Any]


def as_data(values: dict[str, Any]) -> str:
    """JSON in which no string can look like a control token of any chat format."""
    text = json.dumps(values, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("|", "\\u007c").replace("[INST", "\\u005bINST")


def read_object(reply: str, kind: type[T], who: str) -> T:
    """The one JSON object of a reply, strictly; a fence around it is forgiven.

    Args:
        reply: raw text of the model.
        kind: what it must be; unknown fields are refused where the struct forbids them.
        who: the model's part ("editor", "judge"), for the message.

    Raises:
        RecordError: ``reply-malformed``.
    """
    text = reply.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"), type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        # Not chained: the error may quote the reply.
        raise RecordError("reply-malformed", f"the {who}'s reply is not the JSON object it was asked for") from None


def schema_of(kind: type) -> dict[str, Any]:
    """JSON schema in one piece, without references, every property required (strict mode wants that)."""
    _, components = msgspec.json.schema_components((kind,))
    return dict(_flat(components[kind.__name__], components))


def _flat(node: Any, components: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_flat(one, components) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _flat(components[node["$ref"].rpartition("/")[2]], components)
    kept = {key: _flat(value, components) for key, value in node.items() if key not in ("title", "default")}
    if kept.get("type") == "object":
        kept["required"] = list(kept.get("properties", {}))
        kept["additionalProperties"] = False
    return kept
