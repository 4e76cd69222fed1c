"""What some objectives read beside the fields of a pair or a ranking: the object ``ext.align``.

``ext`` travels through every stage untouched, so these fields need no new schema.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Case, ImageRef, Offsets, Part

WHERE = "$.ext.align"


class Sides(Part, frozen=True, kw_only=True):
    """Something for each answer of a pair."""

    chosen: list[float] | None = None
    rejected: list[float] | None = None


Weighted = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)], Annotated[float, Meta(ge=0)]]


class WordWeights(Part, frozen=True, kw_only=True):
    """Weights of characters: stretches ``[start, end, weight]`` of both answers; all else weighs ``rest``."""

    chosen: list[Weighted]
    rejected: list[Weighted]
    rest: Annotated[float, Meta(ge=0)] = 1.0


class Kept(Part, frozen=True, kw_only=True):
    """Character ranges that count: factual sentences of the chosen, hallucinated ones of the rejected answer."""

    chosen: list[Offsets]
    rejected: list[Offsets]


class Twin(Part, frozen=True, kw_only=True):
    """A similar second image and the answer that is right for it."""

    image: ImageRef
    answer: str


class Degrees(Part, frozen=True, kw_only=True):
    """How much was removed from each answer: class 0 (nothing) and up."""

    chosen: Annotated[int, Meta(ge=0)]
    rejected: Annotated[int, Meta(ge=0)]


class AlignExtras(Part, frozen=True, kw_only=True):
    """``ext.align``.

    Attributes:
        token_weights: a weight for each token of an answer as this model's tokenizer writes it, end token
            left out (TIS-DPO).
        word_weights: the same for any tokenizer: a token weighs as much as the heaviest stretch it touches;
            not read where there are ``token_weights``.
        keep: the sentences that count (Mask-DPO); left out: all of the chosen answer, and of the rejected
            one those that a span touches.
        ladder: the image with its object more and more hidden, clearest first (LPOI).
        twin: a similar image with its answer (SymMPO).
        degree: how much was removed from each answer (SPO).
        only: the one side of an unpaired answer (KTO): ``chosen`` desirable, ``rejected`` undesirable.
        old_logprobs: of a ranking's answers, the log-probability each was drawn at, nats, end token
            included (P3O).
    """

    token_weights: Sides | None = None
    word_weights: WordWeights | None = None
    keep: Kept | None = None
    ladder: Annotated[list[ImageRef], Meta(min_length=2)] | None = None
    twin: Twin | None = None
    degree: Degrees | None = None
    only: Literal["chosen", "rejected"] | None = None
    old_logprobs: list[float] | None = None

    def ladder_images(self) -> list[tuple[ImageRef, str]]:
        """Images of the ladder, clearest first, with their JSON paths."""
        return [(ref, f"{WHERE}.ladder[{step}]") for step, ref in enumerate(self.ladder or ())]

    def twin_images(self) -> list[tuple[ImageRef, str]]:
        """The twin's image with its JSON path; empty without a twin."""
        return [(self.twin.image, f"{WHERE}.twin.image")] if self.twin else []


def extras(record: Case) -> AlignExtras:
    """``ext.align`` of a record, checked; empty where there is none.

    Raises:
        RecordError: ``extras-malformed``.
    """
    given: Any = (record.ext or {}).get("align", {})
    try:
        return msgspec.convert(given, AlignExtras)
    except msgspec.ValidationError as error:
        _, found, path = str(error).rpartition(" - at `$")
        path = path.rstrip("`") if found else ""
        raise RecordError("extras-malformed", "ext.align is not what align reads", WHERE + path) from None
