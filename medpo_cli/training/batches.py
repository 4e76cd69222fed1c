"""Records to token sequences: which answers are scored under which image, and which tokens are needed.

Names of sequences follow the objectives: ``+`` and ``-`` are the chosen and the rejected answer under the
clean image, ``'+`` and ``'-`` the same under the corrupted one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt
from medpo_cli.schema.records import Case, ImageRef, Pair
from medpo_cli.text.spans import token_mask
from medpo_cli.training.objectives.methods import Term

LoadImage = Callable[[ImageRef, str], np.ndarray]


@dataclass(frozen=True)
class PromptTokens:
    """What a prompt is made of, whatever its images show: shared by all prompts of equal text and sizes.

    Attributes:
        ids: token ids, image placeholders expanded.
        image_at: for each id its number among the placeholders, or -1.
        positions: LongTensor [axes, S].
    """

    ids: list[int]
    image_at: list[int]
    positions: Tensor


@dataclass(frozen=True)
class Prompt:
    """A question with its images.

    Attributes:
        tokens: its token side.
        content: hash of the images' pixels; equal content means equal features.
        text: the question, to encode it again when its features are needed.
        images: where its images are.
        field: JSON path of the image field.
    """

    tokens: PromptTokens
    content: str
    text: str
    images: tuple[ImageRef, ...]
    field: str


@dataclass(frozen=True)
class Answer:
    """One sequence to score.

    Attributes:
        name: ``+``, ``-``, ``'+`` or ``'-``.
        prompt: what it answers.
        ids: tokens of the answer as far as needed; the last one is only ever predicted.
        needed: indices into ``ids`` of the tokens whose log-probability a term reads, rising.
        span: for each needed token whether it lies inside a span.
    """

    name: str
    prompt: Prompt
    ids: list[int]
    needed: list[int]
    span: list[bool]


@dataclass(frozen=True)
class Unit:
    """Answers that share terms: the smallest part of a record that can be forwarded and backwarded alone.

    Attributes:
        number: of the record among all of the run.
        answers: what is scored.
        weight: factor of the record in the loss.
    """

    number: int
    answers: tuple[Answer, ...]
    weight: float


@dataclass(frozen=True)
class Example:
    """A record ready for training."""

    id: str
    units: tuple[Unit, ...]


def check_fields(record: Case, terms: Sequence[Term], method: str) -> Pair:
    """The record as a pair that has every field the terms read; needs no model.

    Raises:
        RecordError: ``field-missing`` with the field's path, or ``no-signal`` where both answers are equal.
    """
    if not isinstance(record, Pair):
        raise RecordError("field-missing", f"method {method} needs the fields of a pair", "$.chosen")
    if any(term.scope == "span" for term in terms) and not record.spans:
        raise RecordError("field-missing", f"method {method} needs at least one span", "$.spans")
    if any(term.kind == "rank" for term in terms) and record.chosen == record.rejected:
        raise RecordError("no-signal", "chosen and rejected are the same text", "$.rejected")
    return record


class Encoder:
    """Turns pairs into examples for one model and one objective.

    Args:
        vlm: the model whose tokenizer, template and positions count.
        terms: the objective; only what it reads is prepared.
        load: gives the uint8 [H, W, 3] view of an image reference (field name for its errors).
    """

    def __init__(self, vlm: VisionLanguageModel, terms: Sequence[Term], load: LoadImage) -> None:
        self.vlm, self.load, self.terms = vlm, load, tuple(terms)
        self.scopes: dict[str, set[str]] = {}
        for term in terms:
            for name in term.sequences:
                self.scopes.setdefault(name, set()).add(term.scope)
        self._reads_spans = any(term.scope == "span" for term in terms)
        self._tokens: dict[tuple[str, tuple[tuple[int, ...], ...]], PromptTokens] = {}

    def example(self, pair: Pair, number: int) -> Example:
        """The sequences that the objective needs of ``pair``, the ``number``-th record of the run.

        Raises:
            RecordError: ``no-tokens`` where spans cover no token, what ``token_mask`` refuses, what the
                images refuse.
        """
        sides = {"+": self._answer(pair, "chosen"), "-": self._answer(pair, "rejected")}
        if self._reads_spans and not any(any(mask) for _, mask in sides.values()):
            raise RecordError("no-tokens", "no token of either answer lies inside a span", "$.spans")
        units = []
        for prefix, images, field in _views(pair):
            names = [name for name in self.scopes if name.startswith("'") == bool(prefix)]
            if not names:
                continue
            prompt = self._prompt(pair.prompt, images, field)
            answers = tuple(self._sequence(name, prompt, *sides[name[-1]]) for name in names)
            units.append(Unit(number, answers, _weight(pair)))
        return Example(pair.id, tuple(units))

    def encode_prompt(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt with its pixels, read again from its files."""
        return self.vlm.encode_prompt(prompt.text, [self.load(ref, prompt.field) for ref in prompt.images])

    def _answer(self, pair: Pair, side: str) -> tuple[list[int], list[bool]]:
        text: str = getattr(pair, side)
        encoded = self.vlm.encode_answer(text)
        ids: list[int] = encoded.ids.tolist()
        if not self._reads_spans:
            return ids, [False] * len(ids)
        # A pure insertion leaves an empty stretch on one side: that side has nothing to mask.
        spans = [(start, end) for start, end in (getattr(span, side) for span in pair.spans) if text[start:end].strip()]
        return ids, token_mask(encoded.offsets, spans, text)

    def _sequence(self, name: str, prompt: Prompt, ids: list[int], span: list[bool]) -> Answer:
        everything = "response" in self.scopes[name]
        needed = [t for t in range(len(ids)) if everything or span[t]]
        last = needed[-1] + 1 if needed else 0
        return Answer(name, prompt, ids[:last], needed, [span[t] for t in needed])

    def _prompt(self, text: str, images: tuple[ImageRef, ...], field: str) -> Prompt:
        arrays = [self.load(ref, field) for ref in images]
        key = (text, tuple(array.shape for array in arrays))
        if key not in self._tokens:
            self._tokens[key] = self._prompt_tokens(self.vlm.encode_prompt(text, arrays))
        return Prompt(self._tokens[key], _content(arrays), text, images, field)

    def _prompt_tokens(self, encoded: EncodedPrompt) -> PromptTokens:
        image_at, seen = [], 0
        for is_image in encoded.image_positions.tolist():
            image_at.append(seen if is_image else -1)
            seen += is_image
        return PromptTokens(encoded.input_ids.tolist(), image_at, self.vlm.positions(encoded, len(encoded)))


def _views(pair: Pair) -> list[tuple[str, tuple[ImageRef, ...], str]]:
    """The clean images, and the same with the first one corrupted where the record has it."""
    clean = ("", tuple(pair.images), "$.image")
    if pair.corrupted is None:
        return [clean]
    return [clean, ("'", (pair.corrupted.image, *pair.images[1:]), "$.corrupted.image")]


def _weight(pair: Pair) -> float:
    given = pair.weights.example if pair.weights else None
    return 1.0 if given is None else given


def _content(arrays: list[np.ndarray]) -> str:
    key = hashlib.blake2b(digest_size=16)
    for array in arrays:
        key.update(str(array.shape).encode())
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()
