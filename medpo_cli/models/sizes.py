"""Numbers in a model folder that ask for more than any model needs: refused before anything of that size is made.

Widths and vocabularies need no limit here: they are compared with the weights, which are there or not.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpo_cli.errors import UnavailableError

CONFIGS = ("config.json", "processor_config.json", "preprocessor_config.json")
LIMITS: tuple[tuple[str, int], ...] = (
    (r"(?:.*_)?(?:layers?|n_layer|depths?|blocks|experts)", 4096),
    (r"num_additional_image_tokens|image_seq_len(?:gth)?", 2**16),
    (r"height|width", 2**14),
    (r"shortest_edge|longest_edge", 2**28),
)
"""Names and the largest number that each may hold. Edges are pixels of a side or, in some processors, of a picture."""
EDGE = 2**14
"""Largest edge where it is one of a side: in processors that do not merge patches."""
CODE = re.compile(r"_?attn_implementation(?:_internal)?")
"""Settings that name code: a name with a slash is a repository to fetch it from."""


def check_sizes(folder: Path) -> None:
    """Refuse a folder whose configuration asks for absurd sizes, or for code from elsewhere.

    Args:
        folder: of a model; its files were looked at by ``check_model_folder``.

    Raises:
        UnavailableError: with the file and the setting.
    """
    for name in CONFIGS:
        try:
            content = json.loads((folder / name).read_bytes())
        except FileNotFoundError:
            continue
        except (ValueError, RecursionError):
            raise UnavailableError(f"{folder.name}/{name} is not valid JSON: download it again") from None
        for key, value, beside in _settings(content):
            if isinstance(value, str) and CODE.fullmatch(key) and "/" in value:
                raise UnavailableError(f"{folder.name}/{name} names code of a repository ({key}): remove the setting")
            if (most := _most(key, beside)) and _largest(value) > most:
                raise UnavailableError(
                    f"{folder.name}/{name}: {key} is larger than {most}, which no model needs: download it again"
                )


def _settings(content: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every key with its value, at any depth, and the object that the object with the key stands in."""
    waiting: list[tuple[Any, dict[str, Any]]] = [(content, {})]
    while waiting:
        value, above = waiting.pop()
        if isinstance(value, list):
            waiting += [(inner, above) for inner in value]
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield key, inner, above
                waiting.append((inner, value))


def _most(key: str, beside: dict[str, Any]) -> int:
    """The limit of a key; 0 where it has none."""
    if key in ("shortest_edge", "longest_edge") and "merge_size" not in beside:
        return EDGE
    return next((most for pattern, most in LIMITS if re.fullmatch(pattern, key)), 0)


def _largest(value: Any) -> float:
    """The largest number in a number or a list of them."""
    numbers = value if isinstance(value, list) else [value]
    return max((number for number in numbers if isinstance(number, int | float)), default=0)
