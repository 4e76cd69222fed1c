"""Declared bounds on an evaluation: what cron and CI may let through.

    [[bound]]
    metric = "report.hallucination"   # a measure of the result table
    max = 0.10                        # in the unit of the record: shares are 0 to 1
    by = "high"                       # value (default), or the end of the 95 % interval that must hold it

    [[bound]]
    metric = "report.finding_accuracy"
    arm = "aligned"                   # default: the last arm
    against = "base"                  # bounds the difference
    min = 0.0
    by = "low"

A bound on something that was not measured fails: a gate that cannot see must not open.
"""

import contextlib
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.evaluation.attention_measures import ATTENTION, attention_measure
from medpo_cli.evaluation.measures import BY_NAME, PARTED, PROBES_PARTED
from medpo_cli.io.toml import load_toml
from medpo_cli.schema.records import Interval, Summary


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bound; at least one of ``min`` and ``max``."""

    metric: str
    min: float | None = None
    max: float | None = None
    arm: str | None = None
    against: str | None = None
    by: Literal["value", "low", "high"] = "value"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bound: Annotated[list[Bound], msgspec.Meta(min_length=1)]


def load_gate(path: Path) -> list[Bound]:
    """Read and check a gate.

    Raises:
        NoInputError: no such file.
        ConfigError: not TOML, an unknown key or metric, or a bound without ``min`` and ``max``.
    """
    bounds = load_toml(path, _File, "gate").bound
    for number, bound in enumerate(bounds, start=1):
        check_metric(bound.metric, f"{path.name}: bound {number}")
        if bound.min is None and bound.max is None:
            raise ConfigError(f"{path.name}: bound {number} ({bound.metric}) has neither min nor max")
    return bounds


def check_metric(name: str, where: str) -> None:
    """Raise ConfigError for a name that no measure has, with the nearest one."""
    if (
        name in BY_NAME
        or (name.endswith("]") and name.partition("[")[0] in (*PARTED, *PROBES_PARTED))
        or name.startswith(("cooccurrence.", "metric."))
    ):
        return
    with contextlib.suppress(KeyError):
        attention_measure(name)
        return
    close = difflib.get_close_matches(name, [*BY_NAME, *ATTENTION], n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError(f"{where}: no measure is called {name}{hint}")


def failures(bounds: Sequence[Bound], summaries: Sequence[Summary]) -> list[str]:
    """One line per bound that does not hold; empty when all do."""
    return [line for bound in bounds if (line := _failure(bound, summaries))]


def _failure(bound: Bound, summaries: Sequence[Summary]) -> str:
    what = (
        bound.metric + (f" {bound.arm}" if bound.arm else "") + (f" against {bound.against}" if bound.against else "")
    )
    fitting = [one for one in summaries if one.against == bound.against and bound.arm in (None, one.arm)]
    found = fitting[-1].metrics.get(bound.metric) if fitting else None
    number = None if found is None else _end(found, bound.by)
    if number is None:
        return f"{what}: not measured" + ("" if bound.by == "value" else f" (no {bound.by} end)")
    by = "" if bound.by == "value" else f" ({bound.by} end of the 95 % interval)"
    if bound.min is not None and number < bound.min:
        return f"{what}: {number:.4g}{by} is below {bound.min:g}"
    if bound.max is not None and number > bound.max:
        return f"{what}: {number:.4g}{by} is above {bound.max:g}"
    return ""


def _end(found: Interval, by: str) -> float | None:
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return ends[by]
