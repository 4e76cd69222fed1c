"""The file of ``medpo eval --metrics``: programs that score reports, each in an environment of its own.

    [metric.bertscore]
    command = "/opt/bertscore/bin/python bertscore.py {weights} --layer 9"
    weights = "/models/bert"      # a folder or file; or several, in a list: {weights} stands for all
    startup = 600                 # seconds until it is ready
    seconds = 60                  # that one report may take
    memory_gb = 16                # of data; 0: no limit

Weights are looked for before the program is started, so that one whose weights are missing costs no time.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from medpo_cli.errors import ConfigError
from medpo_cli.io.toml import load_toml

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One program, as its table says."""

    command: Annotated[str, Meta(min_length=1)]
    weights: str | list[str] = msgspec.field(default_factory=list)
    startup: Annotated[float, Meta(gt=0)] = 600.0
    seconds: Annotated[float, Meta(gt=0)] = 60.0
    memory_gb: Annotated[float, Meta(ge=0)] = 16.0

    @property
    def paths(self) -> list[Path]:
        """Where its weights are."""
        return [Path(one).expanduser() for one in ([self.weights] if isinstance(self.weights, str) else self.weights)]

    @property
    def words(self) -> str:
        """The command with its weights."""
        return self.command.replace("{weights}", shlex.join(map(str, self.paths)))

    @property
    def missing(self) -> str:
        """Name of the first weights that are not there, or are an empty folder; empty: all are there."""
        return next((path.name for path in self.paths if not _holds_something(path)), "")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metric: Annotated[dict[Name, Program], Meta(min_length=1)]


def load_metrics(path: Path, required: Sequence[str]) -> dict[str, Program]:
    """Read and check the file.

    Args:
        path: of the file.
        required: metrics that must be in it.

    Raises:
        NoInputError: no such file.
        ConfigError: not TOML, an unknown key, a bad value, or a required metric that it does not have.
    """
    found = load_toml(path, _File, "metrics").metric
    for name in required:
        if name not in found:
            raise ConfigError(f"--require: {path.name} has no metric {name}; it has {', '.join(found)}")
    return found


def _holds_something(path: Path) -> bool:
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except OSError:
        return False
