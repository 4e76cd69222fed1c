"""Configuration in TOML, which may come from others: bounded, and with errors that name the file and quote nothing."""

import os
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from medpo_cli.errors import ConfigError, NoInputError

T = TypeVar("T")

LARGEST = 4 * 2**20
MOST_DOTS = 1000
"""Of one line: every dot of a key opens a table, and tomllib takes the square of their number in memory."""


def parse_toml(data: bytes, name: str) -> dict[str, Any]:
    """The tables of a file.

    Args:
        data: its bytes.
        name: what errors call it.

    Raises:
        ConfigError: it is larger than ``LARGEST``, no UTF-8, no TOML, or nested too deeply.
    """
    if len(data) > LARGEST:
        raise ConfigError(f"{name}: larger than {LARGEST >> 20} MiB")
    try:
        if max((line.count(b".") for line in data.split(b"\n")), default=0) > MOST_DOTS:
            raise RecursionError
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except ValueError as error:  # its own and UnicodeDecodeError are such, and so are numbers of too many digits
        raise ConfigError(f"{name}: not valid TOML: {error}") from None


def load_toml(path: Path, kind: type[T], what: str) -> T:
    """A whole file as ``kind``.

    Args:
        path: of the file.
        kind: its struct.
        what: what the file is, for the one error in which it is missing.

    Raises:
        NoInputError: no such file.
        ConfigError: it cannot be read, as ``parse_toml``, or an unknown key or a bad value.
    """
    try:
        return msgspec.convert(parse_toml(path.read_bytes(), path.name), kind)
    except FileNotFoundError:
        raise NoInputError(f"{what} {path.name} not found") from None
    except OSError as error:
        raise ConfigError(f"{path.name}: {os.strerror(error.errno or 0)}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from None
