"""Features of the frozen tower, computed once for each image content."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures
from medpo_cli.training.batches import Prompt

FEATURE_BYTES = 512 * 2**20


class FeatureCache:
    """Features of the frozen tower by image content, least recently used dropped first.

    Args:
        vlm: whose tower.
        encode: gives a prompt with its pixels.
        limit: bytes kept; what one forward pass needs is always kept.
    """

    def __init__(
        self, vlm: VisionLanguageModel, encode: Callable[[Prompt], EncodedPrompt], limit: int = FEATURE_BYTES
    ) -> None:
        self.vlm, self.encode, self.limit = vlm, encode, limit
        self.size = 0
        self._kept: OrderedDict[str, ImageFeatures] = OrderedDict()

    def get(self, prompts: Sequence[Prompt]) -> list[ImageFeatures]:
        """Features of each prompt's images; the tower runs once for all that are not kept."""
        missing = {prompt.content: prompt for prompt in prompts if prompt.content not in self._kept}
        fresh = self.vlm.image_features([self.encode(prompt) for prompt in missing.values()]) if missing else []
        for content, features in zip(missing, fresh, strict=True):
            self._kept[content] = features
            self.size += _bytes(features)
        found = []
        for prompt in prompts:
            self._kept.move_to_end(prompt.content)
            found.append(self._kept[prompt.content])
        needed = len({prompt.content for prompt in prompts})
        while self.size > self.limit and len(self._kept) > needed:
            _, dropped = self._kept.popitem(last=False)
            self.size -= _bytes(dropped)
        return found


def _bytes(features: ImageFeatures) -> int:
    tensors = [*features.tokens, *(part for level in features.deepstack for part in level), *features.inputs.values()]
    return sum(tensor.nbytes for tensor in tensors)
