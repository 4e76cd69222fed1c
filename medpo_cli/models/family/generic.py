"""Every other image-text model: correct and plain, nothing is shared."""

from collections.abc import Sequence
from typing import Any, ClassVar

from medpo_cli.models.family.base import EncodedPrompt, Family, ImageFeatures, concatenate


class Generic(Family):
    """The tower runs in every forward pass, positions are the model's own, no row is shared."""

    name = "generic"
    model_types: ClassVar[frozenset[str]] = frozenset()
    reuses_features = False

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[ImageFeatures]:
        """The image tensors themselves: the model encodes them in each forward pass."""
        return [ImageFeatures(inputs=prompt.vision) for prompt in prompts]

    def image_inputs(self, features: Sequence[ImageFeatures]) -> dict[str, Any]:
        """The image tensors of all rows, joined along the image axis."""
        return dict(concatenate([one.inputs for one in features if one.inputs]))
