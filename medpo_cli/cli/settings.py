"""Where each setting comes from: flag > MEDPO_* > configuration file > built-in."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from medpo_cli.demo.recipe import OBJECTIVE, SETTINGS
from medpo_cli.errors import ConfigError, NoInputError, UsageError
from medpo_cli.io.toml import parse_toml
from medpo_cli.schema import config as schema

STAGES: dict[str, type[schema.Settings]] = {
    "sample": schema.SampleConfig,
    "edit": schema.EditConfig,
    "masks": schema.MasksConfig,
    "corrupt": schema.CorruptConfig,
    "align": schema.AlignConfig,
    "eval": schema.EvalConfig,
}
DEFAULT_FILE = Path("medpo.toml")
_EXTRA = ("input", "output")

C = TypeVar("C", bound=schema.Settings)


class Resolved(Generic[C]):
    """The settings of one run and the source of each value."""

    def __init__(self, stage: C, stream: schema.StreamConfig, extra: dict[str, str], sources: dict[str, str]) -> None:
        self.stage = stage
        self.stream = stream
        self.input = extra.get("input", "")
        self.output = extra.get("output", "")
        self.sources = sources

    def lines(self) -> list[str]:
        """``name = value  # source`` for each setting, in TOML."""
        values = {**msgspec.to_builtins(self.stage), **msgspec.to_builtins(self.stream)}
        values = {"input": self.input, "output": self.output} | values
        width = max(map(len, values)) + 2
        return [_line(key, value, width, self.sources[key]) for key, value in values.items()]


def _line(key: str, value: object, width: int, source: str) -> str:
    if value is None:
        # TOML has no null, and "" would be refused where a number belongs: a comment can be pasted back.
        return f"{'# ' + key:<{width}}= {'(method default)':<24} # {source}"
    return f"{key:<{width}}= {toml(value):<24} # {source}"


def toml(value: object) -> str:
    """A value as TOML writes it; tables in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())}}}"
    return msgspec.json.encode(value).decode()


def names(kind: type[schema.Settings]) -> dict[str, Any]:
    """Field name → type of a settings struct."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def resolve(stage: str, kind: type[C], flags: Mapping[str, Any], config: str | None) -> Resolved[C]:
    """Merge the four layers for ``stage``.

    Args:
        stage: name of the stage (its table in the file, its infix in MEDPO_STAGE_NAME).
        kind: the stage's settings struct.
        flags: values given on the command line; None means not given.
        config: ``--config FILE`` or None for ./medpo.toml if there is one.

    Raises:
        UsageError: a flag holds a bad value. ConfigError: a variable or the file does.
    """
    layers = [
        ("built-in", {}),
        *_file_layers(stage, config),
        ("environment", _environment(stage)),
        ("flag", {key: value for key, value in flags.items() if value is not None}),
    ]
    known = {**names(kind), **names(schema.StreamConfig), **dict.fromkeys(_EXTRA, str)}
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known, "built-in")
    for source, layer in layers:
        for key, value in layer.items():
            if key in known:
                sources[key] = _source(source, stage, key)
                values[key] = _converted(value, known[key], source, sources[key])
    if "model" in known and not values.get("model") and ("judge" in known or not values.get("endpoint")):
        chosen = any(sources.get(key, "built-in") != "built-in" for key in ("method", "terms"))
        for key, value in SETTINGS.get(stage, {}).items():
            if sources[key] == "built-in" and not (chosen and key in OBJECTIVE):
                values[key], sources[key] = value, "embedded demo"
    try:
        return Resolved(
            kind(**{k: v for k, v in values.items() if k in names(kind)}),
            schema.StreamConfig(**{k: v for k, v in values.items() if k in names(schema.StreamConfig)}),
            {k: v for k, v in values.items() if k in _EXTRA},
            sources,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _source(source: str, stage: str, key: str) -> str:
    if source == "flag":
        return key if key in _EXTRA else "--" + key.replace("_", "-")
    if source == "environment":
        return _variable(stage, key)
    return f"{source} {key}"


def _variable(stage: str, key: str) -> str:
    special = f"MEDPO_{stage}_{key}".upper()
    return special if special in os.environ else f"MEDPO_{key}".upper()


def _converted(value: Any, kind: Any, source: str, name: str) -> Any:
    try:
        return msgspec.convert(value, kind, strict=source not in {"environment", "flag"})
    except msgspec.ValidationError as error:
        if source == "flag":
            raise UsageError(f"{name}: {error}") from None
        raise ConfigError(f"{name}: {error}") from None


def _all_keys() -> set[str]:
    keys = {*_EXTRA, *names(schema.StreamConfig)}
    return keys.union(*(names(kind) for kind in STAGES.values()))


def _environment(stage: str) -> dict[str, str]:
    """MEDPO_NAME for any stage, MEDPO_STAGE_NAME for one; unknown variables are errors."""
    general, special = {}, {}
    for variable, value in os.environ.items():
        if not variable.startswith("MEDPO_") or variable in {"MEDPO_CONFIG", "MEDPO_DEBUG"}:
            continue
        key = variable.removeprefix("MEDPO_").lower()
        table, _, rest = key.partition("_")
        if table in STAGES and rest in {*names(STAGES[table]), *names(schema.StreamConfig), *_EXTRA}:
            if table == stage:
                special[rest] = value
        elif key in _all_keys():
            general[key] = value
        else:
            raise ConfigError(f"unknown variable {variable}{_nearest(variable, _variables(), '{}')}")
    return general | special


def _variables() -> set[str]:
    return {f"MEDPO_{key}".upper() for key in _all_keys()}


def _file_layers(stage: str, config: str | None) -> list[tuple[str, dict[str, Any]]]:
    path = Path(config or os.environ.get("MEDPO_CONFIG") or DEFAULT_FILE)
    if not path.exists():
        if config or os.environ.get("MEDPO_CONFIG"):
            raise NoInputError(f"configuration file {path.name} not found")
        return []
    try:
        data = parse_toml(path.read_bytes(), path.name)
    except OSError as error:
        raise ConfigError(f"{path.name}: {os.strerror(error.errno or 0)}") from None
    check_file(data, path.name)
    shared = {key: value for key, value in data.items() if not isinstance(value, dict)}
    return [(path.name, shared), (f"{path.name} [{stage}]", data.get(stage, {}))]


def check_file(data: dict[str, Any], name: str) -> None:
    """Raise ConfigError for a key that no stage knows, naming the nearest valid one."""
    for key, value in data.items():
        if isinstance(value, dict):
            if key not in STAGES:
                raise ConfigError(f"{name}: unknown table [{key}]{_nearest(key, STAGES, '[{}]')}")
            valid = {*names(STAGES[key]), *names(schema.StreamConfig), *_EXTRA}
            for inner in value:
                if inner not in valid:
                    raise ConfigError(f"{name}: unknown key {inner} in [{key}]{_nearest(inner, valid, '{}')}")
        elif key in _EXTRA:
            raise ConfigError(f"{name}: {key} belongs to one stage: write it under a table such as [sample]")
        elif key not in _all_keys():
            raise ConfigError(f"{name}: unknown key {key}{_nearest(key, _all_keys(), '{}')}")


def _nearest(key: str, valid: Any, pattern: str) -> str:
    close = difflib.get_close_matches(key, sorted(valid), n=1, cutoff=0.5)
    return f"; did you mean {pattern.format(close[0])}?" if close else ""
