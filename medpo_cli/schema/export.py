"""JSON Schema of the records, generated from the structs."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from medpo_cli.errors import ExitCode, UsageError
from medpo_cli.schema.records import RECORDS


def json_schema(name: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the record kind ``name``.

    Raises:
        UsageError: there is no such kind.
    """
    if name not in RECORDS:
        raise UsageError(f"no record kind of this name; there are: {', '.join(RECORDS)}")
    return msgspec.json.schema(RECORDS[name])


def run(name: str, write: Callable[[str], object]) -> ExitCode:
    """Print one schema, or the kinds."""
    write(json.dumps(json_schema(name), indent=2) if name else "\n".join(RECORDS))
    return ExitCode.DONE
