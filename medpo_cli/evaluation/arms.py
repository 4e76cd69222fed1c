"""What is compared: one loaded model that answers as itself (``base``) or through its adapter (``aligned``)."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Decoding

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel

View = NDArray[np.uint8]


@dataclass(frozen=True)
class Question:
    """A prompt with its images uint8 [H, W, 3], or with ``encoded``, what the model made of both."""

    prompt: str
    images: Sequence[View]
    encoded: Any = None


@dataclass(frozen=True)
class Stated:
    """An answer to a question whose likelihood is asked for; ``spans`` are half-open code points of it that matter."""

    question: Question
    answer: str
    spans: Sequence[tuple[int, int]] = ()


class Likelihood(NamedTuple):
    """Log-probability (nats) of an answer, of its tokens under the spans, and how many those are."""

    total: float
    span: float = 0.0
    tokens: int = 0


class YesNo(NamedTuple):
    """Log-probability (nats) that the answer begins with yes, and with no."""

    yes: float
    no: float


class Arms(Protocol):
    """One or two policies that answer the same questions."""

    @property
    def names(self) -> tuple[str, ...]:
        """The arms in the order of the comparison."""

    @property
    def versions(self) -> dict[str, str]:
        """What answers, for the summaries."""

    @property
    def facts(self) -> dict[str, str]:
        """What answers and where, for the manifest."""

    def question(self, prompt: str, images: Sequence[View]) -> Question:
        """A question ready to be asked; raises RecordError if the model cannot take it."""

    def check(self, answer: str) -> None:
        """Raise RecordError if the model cannot be asked how likely ``answer`` is."""

    def answers(self, arm: str, questions: Sequence[Question]) -> list[str]:
        """Greedy answers in order."""

    def logprobs(self, arm: str, items: Sequence[Stated]) -> list[Likelihood]:
        """Teacher-forced likelihoods in order."""

    def yes_no(self, arm: str, questions: Sequence[Question]) -> list[YesNo] | None:
        """How likely each answer begins with yes, and with no; None if the model's tokens do not tell."""


class ModelArms:
    """The arms of one loaded model: adapters off is ``base``, adapters on is ``aligned``."""

    def __init__(self, vlm: "VisionLanguageModel", config: EvalConfig) -> None:
        self._vlm = vlm
        self._config = config

    @property
    def names(self) -> tuple[str, ...]:
        """``base``, ``aligned`` or both."""
        if not self._config.adapter:
            return ("base",)
        return ("base", "aligned") if self._config.baseline else ("aligned",)

    @property
    def versions(self) -> dict[str, str]:
        """Name and digest of the model, digest of the adapter."""
        digests = {"model": f"{self._vlm.name}@{self._vlm.digest[:16]}"}
        return digests | ({"adapter": self._vlm.adapter_digest[:16]} if self._vlm.adapter_digest else {})

    @property
    def facts(self) -> dict[str, str]:
        """Device, name and digests."""
        return self._vlm.facts

    def question(self, prompt: str, images: Sequence[View]) -> Question:
        """Encode once for both arms; the views are then dropped, for memory's sake."""
        return Question(prompt, (), self._vlm.encode_prompt(prompt, list(images)))

    def check(self, answer: str) -> None:
        """Raise RecordError if the answer holds an image token."""
        self._vlm.encode_answer(answer)

    def answers(self, arm: str, questions: Sequence[Question]) -> list[str]:
        """Greedy answers; batches by length."""
        from medpo_cli.models.generate import Request, generate

        requests = [Request(item.prompt, item.images, 0, item.encoded) for item in questions]
        decoding = Decoding(max_tokens=self._config.max_tokens)
        with self._as(arm):
            found = generate(self._vlm, requests, decoding, batch=self._config.batch)
        return [responses[0].text for responses in found]

    def logprobs(self, arm: str, items: Sequence[Stated]) -> list[Likelihood]:
        """Sums of token log-probabilities, end token included; a token counts for a span that it overlaps."""
        from medpo_cli.models.score import answer_logprobs

        asked = [(item.question.encoded or item.question.prompt, item.question.images, item.answer) for item in items]
        with self._as(arm):
            found = answer_logprobs(self._vlm, asked, batch=self._config.batch)
        return [self._likelihood(item, logprobs) for item, logprobs in zip(items, found, strict=True)]

    def _likelihood(self, item: Stated, logprobs: Any) -> Likelihood:
        total = float(logprobs.sum())
        if not item.spans:
            return Likelihood(total)
        offsets = self._vlm.encode_answer(item.answer).offsets
        own = [
            float(value)
            for value, (start, end) in zip(logprobs, offsets, strict=True)
            if any(start < e and s < end for s, e in item.spans)
        ]
        return Likelihood(total, sum(own), len(own))

    def yes_no(self, arm: str, questions: Sequence[Question]) -> list[YesNo] | None:
        """From the first token alone, whose forms with a capital letter and without count as one."""
        from medpo_cli.models.score import choice_tokens, first_logprobs

        tokens = choice_tokens(self._vlm, ("yes", "no"))
        if tokens is None:
            return None
        asked = [(question.encoded or question.prompt, question.images) for question in questions]
        with self._as(arm):
            found = first_logprobs(self._vlm, asked, tokens, batch=self._config.batch)
        return [YesNo(*(float(value) for value in row)) for row in found]

    @contextmanager
    def using(self, arm: str) -> "Iterator[VisionLanguageModel]":
        """The model, answering as ``arm`` for as long as it lasts; to look into it."""
        with self._as(arm):
            yield self._vlm

    def _as(self, arm: str) -> AbstractContextManager[None]:
        if arm != "base" or not self._config.adapter:
            return nullcontext()
        from medpo_cli.models.lora import reference

        return reference(self._vlm)


def load_arms(config: EvalConfig) -> ModelArms:
    """Load the model and adapter of ``config``."""
    from medpo_cli.models.load import load_configured

    return ModelArms(load_configured(config), config)
