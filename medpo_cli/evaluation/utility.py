"""A written utility: how much each criterion counts, and what a run must reach at all.

[weights]                 # of the criteria between the worst and the best run of the front
accuracy = 3
hallucination = 2
grounding = 1

[bounds.hallucination]    # in the unit of the record: shares are 0 to 1, cost is seconds
max = 0.10
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from medpo_cli.errors import ConfigError, NoInputError
from medpo_cli.evaluation.tuning import MEASURES, Table
from medpo_cli.io.toml import parse_toml

Criterion = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(MEASURES)})$(?!\\n)")]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A range that a run must lie in."""

    min: float | None = None
    max: float | None = None


class Utility(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Weights (not negative, not all 0) and bounds by criterion."""

    weights: dict[Criterion, Annotated[float, msgspec.Meta(ge=0)]]
    bounds: dict[Criterion, Limits] = {}


def load_utility(path: Path) -> Utility:
    """Read a utility.

    Raises:
        NoInputError: no such file.
        ConfigError: not TOML, an unknown key, a negative weight, or no weight above 0.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise NoInputError(f"no such file: {path.name}") from None
    try:
        utility = msgspec.convert(parse_toml(data, path.name), Utility)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    if not any(utility.weights.values()):
        raise ConfigError(f"{path.name}: no weight is above 0")
    return utility


def allowed(table: Table, utility: Utility, name: str) -> list[int]:
    """The runs within the bounds, best or not: the front of all runs may lie outside them.

    Raises:
        ConfigError: a weight or bound on a criterion that the runs do not have; no run is within the bounds.
    """
    for criterion in (*utility.weights, *utility.bounds):
        if criterion not in table.criteria:
            raise ConfigError(f"{name}: {criterion} was not measured in every run")
    places = {criterion: place for place, criterion in enumerate(table.criteria)}
    kept = [
        run
        for run in range(len(table.runs))
        if all(_within(float(table.values[run, places[key]]), limits) for key, limits in utility.bounds.items())
    ]
    if not kept:
        raise ConfigError(f"{name}: no run is within the bounds")
    return kept


def _within(value: float, limits: Limits) -> bool:
    return (limits.min is None or value >= limits.min) and (limits.max is None or value <= limits.max)


def written(weights: Mapping[str, float]) -> str:
    """Weights as the text of a utility file."""
    return "[weights]\n" + "".join(f"{name} = {value:.4f}\n" for name, value in weights.items())
