"""Gradient checkpointing: layers of the language model are computed again instead of kept."""

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from medpo_cli.errors import UnavailableError
from medpo_cli.models.base import VisionLanguageModel


def recompute_layers(vlm: VisionLanguageModel, *, on: bool) -> None:
    """Switch transformers' gradient checkpointing (not re-entrant) of the language model on or off.

    A layer checkpoints only while it counts as training. The layers alone are told so, not what lies inside
    them: the dropout of the frozen model stays off, that of the adapters stays as it is.

    Raises:
        UnavailableError: the model's layers cannot be computed again.
    """
    layers = decoder_layers(vlm)
    if on and not layers:
        raise UnavailableError("gradient checkpointing is not available for this model: use --checkpointing off")
    for layer in layers:
        layer.gradient_checkpointing = on
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False, context_fn=vlm.last_layer.again)
        layer.training = on
        for name in [name for name, value in vars(layer).items() if "dropout" in name and isinstance(value, float)]:
            setattr(layer, name, 0.0)  # a layer that drops by itself reads its own training flag


def decoder_layers(vlm: VisionLanguageModel) -> list[Any]:
    """The layers of the language model that can be computed again, in order."""
    return [module for module in vlm.base.get_decoder().modules() if isinstance(module, GradientCheckpointingLayer)]
