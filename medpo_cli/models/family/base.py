"""What differs between families of image-text models, behind one small class.

A family says how frozen image features are obtained once and given to the language model many times, how
positions continue after a prompt, and whether several answers may share one row (the forest).
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor

from medpo_cli.errors import UnavailableError
from medpo_cli.models.family import grids, masks

FULL, SLIDING = "full_attention", "sliding_attention"
WINDOWED = frozenset({"mistral", "qwen2", "qwen3", "qwen2_vl_text", "qwen2_5_vl_text", "gemma3_text"})
"""Language models whose windows are proven under tree masks (tests/unit/training/test_training_families.py)."""


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt with its images, ready for the model.

    Attributes:
        input_ids: LongTensor [S]: chat template, expanded image placeholders, generation prompt.
        vision: the processor's image tensors (``pixel_values``, ``image_grid_thw``, ...), images on axis 0.
        image_positions: bool [S], true at image placeholders.
        image_key: sha256 over ``vision``: equal keys mean equal features.
    """

    input_ids: Tensor
    vision: dict[str, Tensor]
    image_positions: Tensor
    image_key: str

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])


@dataclass(frozen=True)
class ImageFeatures:
    """What the frozen tower and projector made of the images of one prompt.

    Attributes:
        tokens: one float tensor [N, H] an image, in order of appearance: the embeddings of its placeholders.
        deepstack: for each image the tensors [N, H] that later layers add (Qwen3-VL), else empty.
        inputs: the image tensors themselves, where a family cannot reuse features.
    """

    tokens: tuple[Tensor, ...] = ()
    deepstack: tuple[tuple[Tensor, ...], ...] = ()
    inputs: dict[str, Tensor] = field(default_factory=dict)


class Family:
    """One family of models, bound to one model.

    Attributes:
        forest: tree masks may let several answers share one row; true only where a test proves it.
        own_loop: prompts may be read in parts, with padding between them: no window counts the gaps.
        reuses_features: features may be computed once and given to many forward passes.
        position_axes: 1, or 3 for M-RoPE (time, height, width).
        tree_masks: what a test proved about the family; ``forest`` also looks at the model's layers.
        stacked: the model wants features as one tensor [images, N, H] instead of a list.
        image_blocks: placeholders of one image see each other both ways.
    """

    name: ClassVar[str]
    model_types: ClassVar[frozenset[str]]
    reuses_features: ClassVar[bool] = True
    position_axes: ClassVar[int] = 1
    tree_masks: ClassVar[bool] = False
    stacked: ClassVar[bool] = False
    image_blocks: ClassVar[bool] = False

    def __init__(self, model: Any, image_token_id: int) -> None:
        self.model = model
        self.image_token_id = image_token_id
        self.language_prefix = language_prefix(model)
        self.forest = self.tree_masks and allows_trees(model)
        self.own_loop = self.forest and layer_kinds(model) == {FULL} and not self.image_blocks
        accepted = inspect.signature(model.forward).parameters
        self.type_names = [name for name in ("token_type_ids", "mm_token_type_ids") if name in accepted]

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[ImageFeatures]:
        """Features of each prompt's images from the frozen tower, one call for all; no gradient."""
        vision = concatenate([prompt.vision for prompt in prompts])
        output = self.model.get_image_features(**vision, return_dict=True)
        tokens = iter([part.detach() for part in output.pooler_output])
        deepstack = [[part.detach() for part in level] for level in getattr(output, "deepstack_features", None) or ()]
        added: Iterator[tuple[Tensor, ...]] = zip(*deepstack, strict=True) if deepstack else iter(())
        return [
            ImageFeatures(
                tuple(next(tokens) for _ in range(count)), tuple(next(added) for _ in range(count) if deepstack)
            )
            for count in (self.images_in(prompt) for prompt in prompts)
        ]

    def images_in(self, prompt: EncodedPrompt) -> int:
        """How many entries of ``pooler_output`` belong to the prompt."""
        return int(prompt.vision["pixel_values"].shape[0])

    def image_inputs(self, features: Sequence[ImageFeatures], input_ids: Tensor) -> dict[str, Any]:
        """Keyword arguments of the model's forward that put the features, in order, into the rows ``input_ids``.

        Raises:
            UnavailableError: the rows hold another number of placeholders: all that follow would be shifted.
        """
        tokens: Any = [part for one in features for part in one.tokens]
        placeholders, made = int((input_ids == self.image_token_id).sum()), sum(map(len, tokens))
        if placeholders != made:
            raise UnavailableError(
                f"processor and model disagree about images: {placeholders} image tokens for {made} features; "
                "copy the processor and tokenizer files of the original model"
            )
        if not tokens:
            return {}
        images = SimpleNamespace(pooler_output=torch.stack(tokens) if self.stacked else tokens)
        added = [part for one in features for part in one.deepstack]
        if added:
            images.deepstack_features = [list(level) for level in zip(*added, strict=True)]
        return {"mm_encoder_outputs": {"image": images}}

    def token_inputs(self, input_ids: Tensor) -> dict[str, Tensor]:
        """Token types [B, S] (1 at image placeholders, else 0) under the names that the model asks for."""
        types = (input_ids == self.image_token_id).long()
        return dict.fromkeys(self.type_names, types)

    def positions(self, prompt: EncodedPrompt, length: int) -> Tensor:
        """Positions [axes, length] of a prompt and what follows it, on the CPU."""
        return torch.arange(length)[None]

    def pooled(self, prompt: EncodedPrompt, values: Tensor) -> Tensor:
        """Means of maps over pixels, for each image token over the pixels that it stands for.

        Args:
            prompt: whose image tokens.
            values: float ``[C, ...]``: C maps shaped like ``pixel_values`` without its axis of colours.

        Returns:
            ``[C, N]`` in the order of the placeholders; NaN at tokens that stand for no pixel.

        Raises:
            RecordError: ``attention-unplaced`` where the family does not know.
        """
        tiles = values.reshape(len(values), -1, *values.shape[-2:])
        count, rest = divmod(int(prompt.image_positions.sum()), tiles.shape[1])
        if rest:
            raise grids.unplaced()
        return grids.cells(tiles, count, patch_side(self.model)).flatten(1)

    def grid(self, prompt: EncodedPrompt) -> tuple[int, int] | None:
        """Rows and columns of the image tokens where one picture is laid out in one piece, else None."""
        pixels = prompt.vision["pixel_values"]
        alone = pixels.shape[:-3].numel() == 1
        return grids.grid_of(int(prompt.image_positions.sum()), *pixels.shape[-2:]) if alone else None

    def tree_mask(self, end: Tensor, input_ids: Tensor) -> Tensor | dict[str, Tensor]:
        """Who sees whom in rows of trees, as the language model wants it.

        Args:
            end: ``[B, S]``, the index behind each node's subtree; at padding its own index plus one.
            input_ids: ``[B, S]``.

        Returns:
            bool ``[B, 1, S, S]``; or by kind of layer, where a model has layers with a window.
        """
        seen = allowed = masks.tree(end)
        if self.image_blocks:
            allowed = seen | masks.image_blocks(input_ids == self.image_token_id, end)
        if SLIDING not in layer_kinds(self.model):
            return allowed
        text = self.model.config.get_text_config()
        windowed = allowed & masks.near(seen, text.sliding_window)
        return {FULL: allowed, SLIDING: windowed} if hasattr(text, "layer_types") else windowed


def patch_side(model: Any) -> int:
    """Pixels a side of the vision tower's patches."""
    side = model.config.vision_config.patch_size
    return int(side if isinstance(side, int) else side[0])


def language_prefix(model: Any) -> str:
    """Full name of the language model inside the image-text model, such as ``model.language_model``."""
    decoder = model.get_decoder()
    return next(str(name) for name, module in model.named_modules() if module is decoder)


def layer_kinds(model: Any) -> frozenset[str]:
    """The kinds of layers of the language model: ``full_attention``, ``sliding_attention``, others."""
    text = model.config.get_text_config()
    named = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None)
    return frozenset(named or [SLIDING if getattr(text, "sliding_window", None) else FULL])


def allows_trees(model: Any) -> bool:
    """True if every layer attends causally, with SDPA, to everything or to a window of a proven kind."""
    text = model.config.get_text_config()
    kinds = layer_kinds(model)
    causal = getattr(text, "is_causal", True) and not getattr(text, "use_bidirectional_attention", False)
    known = kinds == {FULL} or (kinds <= {FULL, SLIDING} and text.model_type in WINDOWED)
    return bool(causal and known and text._attn_implementation == "sdpa")


def concatenate(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several prompts joined along the image axis."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
