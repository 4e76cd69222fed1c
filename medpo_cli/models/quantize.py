"""4-bit loading (nf4, double quantisation) of the language model alone, verified by counting layers."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

from medpo_cli.errors import UnavailableError
from medpo_cli.models.family.base import language_prefix


def nf4_settings(folder: Path, dtype: torch.dtype, *, trust_remote_code: bool = False) -> Any:
    """4-bit settings that keep everything but the language model out, by full names.

    transformers matches skip patterns from the start of the full name: short names protect nothing.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        skeleton = AutoModelForImageTextToText.from_config(config, trust_remote_code=trust_remote_code)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=outside_language_model(skeleton),
    )


def outside_language_model(model: Any) -> list[str]:
    """Full names of the linear layers outside the language model: tower, projector, head."""
    prefix = language_prefix(model) + "."
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith(prefix)
    ]


def quantized(model: Any) -> list[str]:
    """Full names of the layers that bitsandbytes keeps in 4 or 8 bit; adapters around them do not count."""
    return [
        name
        for name, module in model.named_modules()
        if type(module).__module__.startswith("bitsandbytes.") and isinstance(module, torch.nn.Linear)
    ]


def count_4bit(model: Any) -> tuple[int, int]:
    """How many layers are quantised: (inside the language model, outside it)."""
    prefix = language_prefix(model) + "."
    names = quantized(model)
    inside = sum(name.startswith(prefix) for name in names)
    return inside, len(names) - inside


def settle_quantized(model: Any) -> None:
    """Refuse a model quantised in the wrong places.

    Raises:
        UnavailableError: a layer outside the language model is in 4 bit, or none inside.
    """
    inside, outside = count_4bit(model)
    if outside or not inside:
        raise UnavailableError(
            f"4-bit loading went wrong: {inside} layers of the language model and {outside} of tower or projector "
            "are in 4 bit; use --quantize none"
        )


def compute_alike_everywhere(model: Any) -> None:
    """Make 4-bit layers compute alike on every CPU.

    bitsandbytes would repack to bfloat16 on some CPUs at the first eval forward: other numbers than in
    training and than on the next machine, and a crash on widths below 64.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
