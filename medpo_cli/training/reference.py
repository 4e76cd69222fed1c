"""What never changes during training: frozen image features, and the reference's log-probabilities."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures
from medpo_cli.models.lora import reference as adapters_off
from medpo_cli.training.batches import Prompt
from medpo_cli.training.layout import Layout
from medpo_cli.training.objectives.methods import Term
from medpo_cli.training.scoring import LogProbs, forward, kl_masks

FEATURE_BYTES = 512 * 2**20
REFERENCE_BYTES = 1024 * 2**20


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


class Reference:
    """The frozen reference policy: the same rows with adapters off, without gradient.

    Args:
        vlm: the model with its adapters.
        terms: the objective; decides which vocabulary rows are needed.
        limit: bytes of log-probabilities kept for later epochs; 0 keeps nothing.
    """

    def __init__(self, vlm: VisionLanguageModel, terms: Sequence[Term], limit: int) -> None:
        self.vlm, self.terms, self.limit = vlm, tuple(terms), limit
        self.needed = any(term.kind != "nll" for term in terms)
        self.size = 0
        self._kept: dict[tuple[int, str], tuple[Tensor, Tensor | None]] = {}

    def get(self, layout: Layout, features: Sequence[ImageFeatures]) -> dict[str, LogProbs] | None:
        """Log-probabilities by sequence name, from memory if all are there; None if no term needs them."""
        if not self.needed:
            return None
        kept = self._recall(layout)
        if kept is not None:
            return kept
        with torch.no_grad(), adapters_off(self.vlm):
            fresh = forward(self.vlm, layout, features, self.terms)
        self._remember(layout, fresh)
        return fresh

    def knows(self, layout: Layout) -> bool:
        """Whether a pass over ``layout`` would be answered from memory."""
        return all(key in self._kept for key in _keys(layout))

    def _recall(self, layout: Layout) -> dict[str, LogProbs] | None:
        if not self._kept or not self.knows(layout):
            return None
        result = {}
        for name, index in layout.index.items():
            parts = [self._kept[layout.units[unit].number, name] for unit in index.units]
            tokens = torch.zeros(index.kept.shape, dtype=parts[0][0].dtype)
            for row, (values, _) in enumerate(parts):
                tokens[row, : len(values)] = values
            rows = [part for _, part in parts if part is not None]
            device = index.kept.device
            result[name] = LogProbs(tokens.to(device), torch.cat(rows).to(device) if rows else None)
        return result

    def _remember(self, layout: Layout, fresh: dict[str, LogProbs]) -> None:
        if self.size >= self.limit:
            return
        masks = kl_masks(layout.index, self.terms)
        for name, index in layout.index.items():
            lengths = index.response.sum(-1).tolist()
            rows = fresh[name].rows
            parts = None if rows is None else torch.split(rows.cpu(), masks[name].sum(-1).tolist())
            for i, unit in enumerate(index.units):
                tokens = fresh[name].tokens[i, : lengths[i]].cpu().clone()
                row = None if parts is None else parts[i].clone()
                self._kept[layout.units[unit].number, name] = (tokens, row)
                self.size += tokens.nbytes + (0 if row is None else row.nbytes)


def _keys(layout: Layout) -> list[tuple[int, str]]:
    return [(unit.number, answer.name) for unit in layout.units for answer in unit.answers]


def _bytes(features: ImageFeatures) -> int:
    tensors = [*features.tokens, *(part for level in features.deepstack for part in level), *features.inputs.values()]
    return sum(tensor.nbytes for tensor in tensors)
