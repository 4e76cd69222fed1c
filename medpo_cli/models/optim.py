"""The optimizers that training chooses from; the 8-bit one comes from bitsandbytes and runs on the CPU too."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medpo_cli.errors import ConfigError, UnavailableError
from medpo_cli.models.load import quiet


def make_adamw(kind: str, parameters: Sequence[Tensor], lr: float) -> torch.optim.Optimizer:
    """AdamW without weight decay.

    Args:
        kind: ``adamw`` (moments in the parameters' type, 8 bytes an element in float32), or ``adamw8bit``
            (moments in 8 bit by blocks of 256; tensors below 4096 elements keep float32 moments).
        parameters: float32, or float64 with ``adamw``.
        lr: learning rate.

    Raises:
        ConfigError: ``adamw8bit`` for float64 parameters.
        UnavailableError: bitsandbytes is missing.
    """
    if kind == "adamw":
        # One fused kernel on a GPU: the default there makes a temporary copy of every second moment.
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, fused=parameters[0].is_cuda or None)
    if any(parameter.dtype != torch.float32 for parameter in parameters):
        raise ConfigError("optimizer: adamw8bit takes float32 parameters only; use adamw with --dtype float64")
    try:
        with quiet():
            from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise UnavailableError("bitsandbytes is missing: pip install bitsandbytes, or use --optimizer adamw") from error
    made: torch.optim.Optimizer = AdamW8bit(parameters, lr=lr, weight_decay=0.0)
    return made
