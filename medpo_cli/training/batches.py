"""What is trained on: records as token sequences that were prepared once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from medpo_cli.schema.records import ImageRef


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
        name: of the sequence, as objectives call it (``+``, ``'-``, ``*``, ...).
        prompt: what it answers.
        ids: tokens of the answer as far as needed; the last one is only ever predicted.
        needed: indices into ``ids`` of the tokens whose log-probability a term reads, rising.
        span: for each needed token whether it lies inside a span.
        kl: for each needed token whether a term reads the whole distribution there.
        sentence: for each needed token whether its sentence is kept; empty where no term asks.
        weights: factor of each needed token; empty where no term asks.
        facts: numbers that the record gives for it.
    """

    name: str
    prompt: Prompt
    ids: list[int]
    needed: list[int]
    span: list[bool]
    kl: list[bool]
    sentence: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """Answers that share terms: the smallest part of a record that can be forwarded and backwarded alone.

    Attributes:
        number: of the record among all of the run.
        answers: what is scored; those of a list one after the other, in the list's order.
        weight: factor of the record in the loss.
    """

    number: int
    answers: tuple[Answer, ...]
    weight: float

    @property
    def names(self) -> frozenset[str]:
        """The sequences it holds."""
        return frozenset(answer.name for answer in self.answers)


@dataclass(frozen=True)
class Example:
    """A record ready for training.

    Attributes:
        id: the record's.
        units: its parts.
        mismatched: its question with answers to another one, for KTO's estimate of the batch's KL.
    """

    id: str
    units: tuple[Unit, ...]
    mismatched: tuple[Unit, ...] = ()

    @property
    def content(self) -> str:
        """Hash of the clean image's pixels: records of equal content can share its prefix."""
        return self.units[0].answers[0].prompt.content
