"""What an adapter's configuration may ask for: LoRA on layers that can be named in time, and nothing else."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medpo_cli.errors import UnavailableError
from medpo_cli.models.limits import TooLongError, time_limit

SECONDS = 10.0
FOREIGN = (
    "megatron_config", "corda_config", "eva_config", "lora_ga_config", "loftq_config", "arrow_config",
    "layer_replication",
)  # fmt: skip
"""Settings with which PEFT imports modules by name, reads pickles, looks for other adapters, or copies layers."""


def check_adapter_config(folder: Path) -> None:
    """Refuse what is no plain LoRA adapter.

    Raises:
        UnavailableError: with the setting.
    """
    config = _config(folder)
    if config.get("peft_type") != "LORA":
        raise UnavailableError(f"adapter {folder.name} is no LoRA adapter (peft_type): give one that is")
    for name in FOREIGN:
        if config.get(name):
            raise UnavailableError(
                f"adapter {folder.name} asks for more than LoRA ({name}): save it as a plain LoRA adapter"
            )


def check_patterns(folder: Path, modules: Iterable[str]) -> None:
    """Match the adapter's patterns against the names of a model's modules once, for a limited time.

    A pattern can be made to run for ever, inside PEFT as well as here.

    Raises:
        UnavailableError: a pattern is none, or takes longer than ``SECONDS``.
    """
    config = _config(folder)
    found = [config.get(name) for name in ("target_modules", "exclude_modules", "layers_pattern")]
    found += [*_keys(config.get("rank_pattern")), *_keys(config.get("alpha_pattern"))]
    patterns = [pattern for pattern in found if isinstance(pattern, str)]
    try:
        with time_limit(SECONDS):
            for name in modules:
                for pattern in patterns:
                    re.fullmatch(pattern, name)
                    re.match(rf"(.*\.)?({pattern})$", name)  # as PEFT looks for ranks
    except TooLongError:
        raise UnavailableError(f"adapter {folder.name}: a pattern of layers takes too long to match") from None
    except (re.error, RecursionError, OverflowError):
        raise UnavailableError(f"adapter {folder.name}: a pattern of layers is not valid") from None


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_bytes())
    return config


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []
