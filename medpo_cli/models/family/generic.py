"""Every other image-text model: correct and plain, nothing is shared."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medpo_cli.models.family import grids
from medpo_cli.models.family.base import EncodedPrompt, Family, ImageFeatures, concatenate


class Generic(Family):
    """The tower runs in every forward pass, positions are the model's own, no row is shared."""

    name = "generic"
    model_types: ClassVar[frozenset[str]] = frozenset()
    reuses_features = False

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[ImageFeatures]:
        """The image tensors themselves: the model encodes them in each forward pass."""
        return [ImageFeatures(inputs=prompt.vision) for prompt in prompts]

    def image_inputs(self, features: Sequence[ImageFeatures], input_ids: Tensor) -> dict[str, Any]:
        """The image tensors of all rows, joined along the image axis."""
        inputs = dict(concatenate([one.inputs for one in features if one.inputs]))
        if (mask := inputs.get("cross_attention_mask")) is not None:
            # Mllama: which token reads which tile, [B, S, ...]. What follows a prompt reads what its end reads.
            more = mask[:, -1:].expand(-1, max(0, input_ids.shape[1] - mask.shape[1]), -1, -1)
            inputs["cross_attention_mask"] = torch.cat([mask, more], dim=1)[:, : input_ids.shape[1]]
        return inputs

    def pooled(self, prompt: EncodedPrompt, values: Tensor) -> Tensor:
        """Nothing is known of its tokens.

        Raises:
            RecordError: ``attention-unplaced``.
        """
        raise grids.unplaced()
