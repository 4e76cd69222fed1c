"""What the runners share that needs no torch."""

import json
from pathlib import Path
from typing import Any

TARGETS = r".*language_model\..*\.(q|k|v|o|gate|up|down)_proj"
"""The linear layers that every tool adapts, as a regular expression on full names."""


def read_pairs(folder: str) -> list[dict[str, Any]]:
    """The pairs that ``workload/pairs.py`` wrote."""
    with open(Path(folder) / "pairs.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
