"""The token side of one answer: ids, span and sentence masks, weights, and which of its tokens are read."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema import objectives as kinds
from medpo_cli.schema.extras import WHERE, AlignExtras
from medpo_cli.schema.records import Offsets, Pair
from medpo_cli.text.spans import stretch_weights, token_mask
from medpo_cli.text.words import sentences


@dataclass(frozen=True)
class AnswerTokens:
    """An answer as the policy would say it, end of turn last.

    Attributes:
        ids: token ids.
        offsets: code points that each token covers.
        span: whether each token lies in a span; empty where no term asks.
        sentence: whether each token's sentence is kept; empty where no term asks.
        weights: factor of each token; empty where no term asks.
    """

    ids: list[int]
    offsets: list[Offsets]
    span: list[bool] = field(default_factory=list)
    sentence: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Reads:
    """What an objective reads of one sequence.

    Attributes:
        scopes: token scopes whose log-probabilities it reads.
        kl: token scopes whose whole distributions it reads.
        span: whether it needs to know the edited tokens.
        weights: whether it needs the record's token weights.
    """

    scopes: frozenset[kinds.Scope]
    kl: frozenset[kinds.Scope]
    span: bool
    weights: bool

    @classmethod
    def of(cls, name: str, terms: Sequence[kinds.Term]) -> "Reads":
        """What ``terms`` read of the sequence ``name``."""
        mine = [term for term in terms if name in term.sequences]
        scopes: frozenset[kinds.Scope] = frozenset(getattr(term, "scope", "response") for term in mine)
        divergent = (term for term in mine if isinstance(term, kinds.KL) or (isinstance(term, kinds.Rank) and term.kl))
        kl: frozenset[kinds.Scope] = frozenset(getattr(term, "scope", "response") for term in divergent)
        weigh = {getattr(term, "weigh", "none") for term in mine}
        return cls(scopes, kl, "span" in scopes or "span" in weigh, "record" in weigh)

    def needed(self, tokens: AnswerTokens) -> list[int]:
        """Indices of the tokens whose log-probability is read."""
        return [t for t in range(len(tokens.ids)) if _inside(self.scopes, tokens, t)]

    def wants_kl(self, tokens: AnswerTokens, t: int) -> bool:
        """Whether the distribution at token ``t`` is read."""
        return _inside(self.kl, tokens, t)


def _inside(scopes: frozenset[kinds.Scope], tokens: AnswerTokens, t: int) -> bool:
    if "response" in scopes:
        return True
    return ("span" in scopes and tokens.span[t]) or ("sentence" in scopes and tokens.sentence[t])


def tokens_of(vlm: VisionLanguageModel, name: str, pair: Pair, more: AlignExtras, reads: Reads) -> AnswerTokens:
    """The answer that the sequence ``name`` holds.

    Raises:
        RecordError: ``weights-length`` where token weights do not fit, what ``token_mask`` refuses.
    """
    side = {"-": "rejected", "r": "reference", "2": "twin"}.get(name[-1], "chosen")
    if more.only not in (None, side):  # the other side of an unpaired answer
        return AnswerTokens([], [])
    text = _text(pair, more, side)
    encoded = vlm.encode_answer(text)
    ids, offsets = encoded.ids.tolist(), encoded.offsets
    edited = [getattr(span, side) for span in pair.spans] if side in ("chosen", "rejected") else []
    # A pure insertion leaves an empty stretch on one side: that side has nothing to mask.
    spans = [(start, end) for start, end in edited if text[start:end].strip()] if reads.span else []
    return AnswerTokens(
        ids,
        offsets,
        token_mask(offsets, spans, text) if reads.span else [],
        _kept(text, offsets, pair, more, side) if "sentence" in reads.scopes else [],
        _weights(more, side, text, offsets) if reads.weights else [],
    )


def _text(pair: Pair, more: AlignExtras, side: str) -> str:
    if side in ("chosen", "rejected"):
        return str(getattr(pair, side))  # spans index it as it is
    other = more.twin.answer if side == "twin" and more.twin else pair.reference
    return unicodedata.normalize("NFC", other or "")


def _kept(text: str, offsets: Sequence[Offsets], pair: Pair, more: AlignExtras, side: str) -> list[bool]:
    """Tokens of the sentences that count: as the record says; else all chosen ones, and the edited rejected ones."""
    found = list(sentences(text))
    if more.keep is not None:
        found = list(getattr(more.keep, side))
    elif side == "rejected":
        spans = [span.rejected for span in pair.spans]
        found = [(a, b) for a, b in found if any(start <= b and a <= end for start, end in spans)]
    return [any(a < end and start < b for a, b in found) for start, end in offsets]


def _weights(more: AlignExtras, side: str, text: str, offsets: Sequence[Offsets]) -> list[float]:
    """Factors of the tokens, the end token's 0 last: given one by one, else by the characters they cover."""
    if more.token_weights is None and more.word_weights is not None:
        weighted = getattr(more.word_weights, side)
        return [*stretch_weights(offsets[:-1], weighted, more.word_weights.rest, text), 0.0]
    given, length = getattr(more.token_weights, side, None), len(offsets) - 1
    if given is None or len(given) != length:
        raise RecordError(
            "weights-length",
            f"an answer has {length} tokens but {len(given or ())} weights",
            f"{WHERE}.token_weights.{side}",
        )
    return [*given, 0.0]
