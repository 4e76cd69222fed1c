"""Several processes under ``accelerate launch``: what may be launched, and decisions taken by all together."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from medpo_cli.errors import ConfigError
from medpo_cli.io.context import Context

SHARDED = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM", "PARALLELISM_CONFIG": "parallelism"}


def start_accelerator(device: str) -> Accelerator:
    """The processes of this run: one, or as many as ``accelerate launch`` started.

    Only their number and devices come from accelerate's configuration: type of the numbers and batch are medpo's
    own settings.

    Args:
        device: ``cpu`` keeps off a GPU that is there.

    Raises:
        ConfigError: accelerate is to split one model over the processes.
    """
    for variable, name in SHARDED.items():
        if os.environ.get(f"ACCELERATE_USE_{variable}", "").lower() in {"1", "true"}:
            raise ConfigError(
                f"{name} is not supported: every process holds the whole frozen model (--qlora makes it small); "
                "use accelerate launch --multi_gpu"
            )
    return Accelerator(
        cpu=device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )


def check_time(context: Context, accelerator: Accelerator) -> None:
    """Raise TryLaterError in all processes once one is out of time: one alone would leave the rest waiting.

    Raises:
        TryLaterError: as ``Context.check_time``.
    """
    if accelerator.num_processes > 1 and context.deadline is not None:
        over = torch.tensor(float(context.out_of_time()), device=accelerator.device)
        if float(accelerator.reduce(over, reduction="sum")) > 0:
            context.deadline = 0.0  # it has passed in every process
    context.check_time()
