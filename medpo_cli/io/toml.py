"""Configuration in TOML, which may come from others: bounded, and with errors that name the file and quote nothing."""

import tomllib
from typing import Any

from medpo_cli.errors import ConfigError

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
