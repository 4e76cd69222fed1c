"""The auxiliary head that some objectives train beside the adapter and throw away."""

from collections.abc import Sequence

import torch
from torch import nn

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.objectives import Degree, Term

NAME = "medpo_degree"


def add_head(vlm: VisionLanguageModel, terms: Sequence[Term]) -> nn.Linear | None:
    """A linear head [K, H] on the last hidden state, if a term needs one; K equal chances at the start.

    It becomes part of ``vlm.model``, so that the optimizer and checkpoints hold it; a saved adapter does not.
    """
    classes = next((term.classes for term in terms if isinstance(term, Degree)), 0)
    if not classes:
        return None
    size = vlm.base.config.get_text_config().hidden_size
    dtype = vlm.dtype if vlm.dtype == torch.float64 else torch.float32
    head = nn.Linear(size, classes, device=vlm.device, dtype=dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    vlm.model.add_module(NAME, head)
    return head
