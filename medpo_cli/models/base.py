"""One loaded image-text model: encoding, frozen image features, logits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationConfig

from medpo_cli.errors import RecordError, UnavailableError
from medpo_cli.models.family import EncodedPrompt, Family, ImageFeatures, family_of
from medpo_cli.models.last_layer import LastLayer
from medpo_cli.models.template import render

HEAD_EXTRAS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of text models that change logits behind the head."""
SENTINEL = "\N{SNOWMAN}answer\N{SNOWMAN}"


@dataclass(frozen=True)
class EncodedAnswer:
    """An answer as the policy would have said it, to be joined to a prompt's ids.

    Attributes:
        ids: LongTensor [T], the end-of-turn token last.
        offsets: for each token the half-open code-point range of the text that it covers; the end-of-turn
            token is ``(len(text), len(text))``.
    """

    ids: Tensor
    offsets: list[tuple[int, int]]


class VisionLanguageModel:
    """A frozen image-text model with its processor.

    Args:
        model: the transformers model, or a PEFT model around it.
        processor: its processor, with a fast tokenizer and a chat template.
        name: folder name, for records.
        digest: sha256 (hex) over the files that define the model.
        adapter_digest: the same of a loaded adapter.
    """

    def __init__(
        self, model: nn.Module, processor: Any, *, name: str = "", digest: str = "", adapter_digest: str | None = None
    ) -> None:
        self.model: Any = model.eval()
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.name, self.digest, self.adapter_digest = name, digest, adapter_digest
        self.image_token_id = _image_token_id(self.base, processor)
        self.family: Family = family_of(self.base, self.image_token_id)
        self.last_layer = LastLayer(self.base.get_decoder())
        self.end_id = self._end_of_turn()
        self.stop_ids = sorted({self.end_id, *_stop_ids(self.base, self.tokenizer)})
        # A folder's own decoding settings (repetition penalty, temperature) would change answers unseen.
        self.base.generation_config = GenerationConfig(eos_token_id=self.stop_ids, pad_token_id=self.end_id)

    @property
    def base(self) -> Any:
        """The transformers model; active adapters stay active inside it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> torch.device:
        """Where the embeddings lie."""
        device: torch.device = self.base.get_input_embeddings().weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the activations."""
        dtype: torch.dtype = self.base.get_input_embeddings().weight.dtype
        return dtype

    @property
    def quantization(self) -> str:
        """``nf4`` where the language model is in 4 bit."""
        return "nf4" if getattr(self.base, "is_loaded_in_4bit", False) else "none"

    @property
    def facts(self) -> dict[str, str]:
        """What a run manifest says about it."""
        found = {"device": str(self.device), "model": self.name, "model_digest": self.digest}
        return found | ({"adapter_digest": self.adapter_digest} if self.adapter_digest else {})

    @cached_property
    def longest(self) -> int:
        """Tokens that the language model was built for; 0 where its configuration does not say."""
        return int(getattr(self.base.config.get_text_config(), "max_position_embeddings", None) or 0)

    @property
    def forest(self) -> bool:
        """Whether answers may share one row under the family's tree masks."""
        return self.family.forest

    def encode_prompt(self, prompt: str, images: Sequence[np.ndarray]) -> EncodedPrompt:
        """Chat template, image placeholders and pixels of one question.

        Args:
            prompt: the question.
            images: uint8 [H, W, 3] each, in order.

        Raises:
            RecordError: ``prompt-control-token`` if the question holds a control token of the model,
                ``prompt-too-long`` if it has more tokens than the model has positions.
            UnavailableError: the chat template of the model cannot be used.
        """
        control = {*self.tokenizer.all_special_tokens, getattr(self.processor, "image_token", None)}
        if any(token and token in prompt for token in control):
            raise RecordError("prompt-control-token", "the prompt holds a control token of this model", "$.prompt")
        content = [{"type": "image"} for _ in images] + [{"type": "text", "text": prompt}]
        text = render(self.processor, [{"role": "user", "content": content}], add_generation_prompt=True)
        bos = self.tokenizer.bos_token
        outputs = self.processor(
            images=[Image.fromarray(image) for image in images] or None,
            text=[text],
            return_tensors="pt",
            add_special_tokens=not (bos and text.startswith(bos)),
        )
        ids = outputs.pop("input_ids")[0]
        if 0 < self.longest < len(ids):
            raise RecordError(
                "prompt-too-long",
                f"{len(ids)} tokens of prompt and images, of at most {self.longest} that the model was built for",
                "$.prompt",
            )
        vision = {name: value for name, value in outputs.items() if not _is_token_wise(name)}
        return EncodedPrompt(ids, vision, ids == self.image_token_id, _content_key(vision))

    def encode_answer(self, text: str) -> EncodedAnswer:
        """Ids and offsets of an answer, end of turn included; tokenised alone, never with the prompt.

        Raises:
            RecordError: ``answer-control-token`` if the answer holds the model's image placeholder,
                ``answer-too-long`` if it alone has more tokens than the model has positions.
        """
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if self.image_token_id in encoded["input_ids"]:
            raise RecordError("answer-control-token", "an answer holds the image token of this model")
        if 0 < self.longest < len(encoded["input_ids"]):
            raise RecordError(
                "answer-too-long",
                f"{len(encoded['input_ids'])} tokens of an answer, and the model was built for {self.longest}",
            )
        ids = torch.tensor([*encoded["input_ids"], self.end_id], dtype=torch.long)
        return EncodedAnswer(ids, [*map(tuple, encoded["offset_mapping"]), (len(text), len(text))])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, control tokens left out, nothing stripped."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    @torch.no_grad()
    def image_features(self, prompts: Sequence[EncodedPrompt]) -> list[ImageFeatures]:
        """Features of each prompt's images; the frozen tower runs once for each distinct image.

        The result may be kept, moved and reused: it depends on ``image_key`` alone.
        """
        distinct = {prompt.image_key: prompt for prompt in prompts if prompt.vision}
        found = {"": ImageFeatures()}
        for same_shape in _by_shape(list(distinct.values())):
            moved = [self.moved(prompt) for prompt in same_shape]
            found |= zip((p.image_key for p in moved), self.family.encode_images(moved), strict=True)
        return [found[prompt.image_key] for prompt in prompts]

    def moved(self, prompt: EncodedPrompt) -> EncodedPrompt:
        """The prompt with its image tensors on the model's device, floats in its type."""
        vision = {
            name: value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in prompt.vision.items()
        }
        return EncodedPrompt(prompt.input_ids, vision, prompt.image_positions, prompt.image_key)

    def positions(self, prompt: EncodedPrompt, length: int) -> Tensor:
        """Positions [axes, length] of the prompt and of ``length - len(prompt)`` tokens after it.

        One axis, or three for M-RoPE. Each branch after the prompt has these same positions.
        """
        return self.family.positions(prompt, length)

    def row_positions(self, prompts: Sequence[EncodedPrompt], length: int) -> Tensor | None:
        """Positions [axes, B, length] of right-padded rows, on the model's device; None: the model's own."""
        if not self.family.reuses_features:
            return None
        return torch.stack([self.positions(prompt, length) for prompt in prompts], dim=1).to(self.device)

    def forward(
        self,
        input_ids: Tensor,
        *,
        features: Sequence[ImageFeatures] | None = None,
        attention_mask: Tensor | dict[str, Tensor] | None = None,
        position_ids: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        cache: Any = None,
    ) -> Tensor:
        """Logits through the model's public forward.

        Args:
            input_ids: LongTensor [B, S] with image placeholders in place.
            features: of the images in the order in which their placeholders appear, row by row.
            attention_mask: 2-D [B, S] (1 = token, 0 = padding), or, where ``forest``, what the family's
                ``tree_mask`` gives: bool [B, 1, S, S], or one for each kind of layer.
            position_ids: LongTensor [axes, B, S]; None: the model's own (wrong under padding or a tree).
            logits_to_keep: last positions to keep (0: all), or bool [B, S]: then logits are [kept, V].
            cache: transformers cache to read and extend (inference only).

        Returns:
            Logits [B, S, V], in the model's type.

        Raises:
            UnavailableError: ``features`` are too many or too few for the image placeholders of the rows.
        """
        inputs = self._inputs(input_ids, features, attention_mask, position_ids)
        logits: Tensor = self.base(
            **inputs, logits_to_keep=logits_to_keep, past_key_values=cache, use_cache=cache is not None
        ).logits
        return logits

    def states(
        self,
        input_ids: Tensor,
        *,
        features: Sequence[ImageFeatures] | None,
        attention_mask: Tensor | dict[str, Tensor],
        position_ids: Tensor | None,
        keep: Tensor,
    ) -> Tensor:
        """Final hidden states [N, H] at the positions ``keep`` (bool [B, S]), arguments as in ``forward``.

        ``head`` makes their logits. A model whose head medpo does not know gives logits here already.
        """
        if not self.known_head:
            return self.forward(
                input_ids,
                features=features,
                attention_mask=attention_mask,
                position_ids=position_ids,
                logits_to_keep=keep,
            )
        inputs = self._inputs(input_ids, features, attention_mask, position_ids)
        with self.last_layer.narrowed(keep):
            states: Tensor = self.base.model(**inputs, use_cache=False)[0][keep]
        return states

    def head(self, states: Tensor) -> Tensor:
        """Logits [N, V] of states [N, H], in the model's type; ``head(states(...))`` equals ``forward``."""
        return self.base.lm_head(states) if self.known_head else states

    @cached_property
    def known_head(self) -> bool:
        """Whether logits are the head's linear map of the body's states and nothing else."""
        text = self.base.config.get_text_config()
        plain = not any(getattr(text, name, None) for name in HEAD_EXTRAS)
        return self.family.reuses_features and plain and hasattr(self.base, "model") and hasattr(self.base, "lm_head")

    def _inputs(
        self,
        input_ids: Tensor,
        features: Sequence[ImageFeatures] | None,
        attention_mask: Tensor | dict[str, Tensor] | None,
        position_ids: Tensor | None,
    ) -> dict[str, Any]:
        inputs: dict[str, Any] = {} if features is None else self.family.image_inputs(features, input_ids)
        if features:
            inputs |= self.family.token_inputs(input_ids)
        if position_ids is not None:
            inputs["position_ids"] = position_ids[0] if self.family.position_axes == 1 else position_ids
        return inputs | {"input_ids": input_ids, "attention_mask": attention_mask}

    def _end_of_turn(self) -> int:
        """The token that ends an answer: what the chat template puts there, else the tokenizer's own."""
        stops = _stop_ids(self.base, self.tokenizer)
        turns = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
        answer = {"role": "assistant", "content": [{"type": "text", "text": SENTINEL}]}
        text = render(self.processor, [*turns, answer])
        after = self.tokenizer(text.partition(SENTINEL)[2], add_special_tokens=False)["input_ids"]
        if after and after[0] in stops:
            return int(after[0])
        if not stops:
            raise UnavailableError("the model names no end-of-turn token: set eos_token in tokenizer_config.json")
        own = self.tokenizer.eos_token_id
        return int(own) if own is not None else min(stops)


def _is_token_wise(name: str) -> bool:
    """Outputs that describe text tokens, which the families derive themselves."""
    return name == "attention_mask" or name.endswith("token_type_ids")


def _image_token_id(model: Any, processor: Any) -> int:
    for owner, name in (
        (model.config, "image_token_id"),
        (model.config, "image_token_index"),
        (processor, "image_token_id"),
    ):
        if isinstance(value := getattr(owner, name, None), int):
            return value
    raise UnavailableError("the model names no image token: image_token_id is missing in config.json")


def _stop_ids(model: Any, tokenizer: Any) -> set[int]:
    named = model.generation_config.eos_token_id
    ids = {named} if isinstance(named, int) else set(named or ())
    return ids | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())


def _content_key(vision: dict[str, Tensor]) -> str:
    if not vision:
        return ""
    key = hashlib.sha256()
    for name in sorted(vision):
        key.update(f"{name}{tuple(vision[name].shape)}{vision[name].dtype}".encode())
        key.update(vision[name].contiguous().numpy().tobytes())
    return key.hexdigest()


def _by_shape(prompts: list[EncodedPrompt], limit: int = 16) -> list[list[EncodedPrompt]]:
    """Prompts whose image tensors can be joined, at most ``limit`` together to bound memory."""
    groups: dict[tuple[tuple[str, torch.Size], ...], list[EncodedPrompt]] = {}
    for prompt in prompts:
        shape = tuple((name, value.shape[1:]) for name, value in sorted(prompt.vision.items()))
        groups.setdefault(shape, []).append(prompt)
    return [group[i : i + limit] for group in groups.values() for i in range(0, len(group), limit)]
