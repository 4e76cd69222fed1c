"""What an objective may be made of: one strict struct for each kind of term.

The named methods are tables of these (``training/objectives/methods.py``); a configuration file composes
its own with ``[[align.terms]]``. Sequences are named by image and answer:

    ""  the clean image      "+"  chosen       "r"  the reference answer
    "'" the corrupted image  "-"  rejected     "2"  the answer that suits the twin image
    "2:" the twin image      "*"  all answers of a ranking, best reward first
                             "#"  the chosen answer under every image of a ladder, clearest first

so that ``'-`` is the rejected answer under the corrupted image.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

Scope = Literal["span", "response", "sentence"]
"""Tokens that count: inside spans, the whole answer with its end, or the sentences that are kept."""
Link = Literal["sigmoid", "hinge", "ipo", "robust", "nca", "apo-zero", "apo-down", "sppo"]
Sequence = Annotated[str, Meta(pattern=r"^('|2:)?[+\-r2]$(?!\n)")]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """One weighted part of an objective.

    Attributes:
        name: key in step records; empty: the kind.
        weight: factor in the loss; 0 drops the term.
        optional: a record without the term's images counts with 0 instead of being refused.
    """

    name: str = ""
    weight: float = 1.0
    optional: bool = False
    uses_reference: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """Its key in step records."""
        return self.name or str(self.__struct_config__.tag)

    @property
    def sequences(self) -> tuple[str, ...]:
        """The sequences it reads."""
        raise NotImplementedError


class Rank(Term, tag="rank", frozen=True, kw_only=True):
    """A preference of one sequence over another.

    Attributes:
        better: preferred sequence.
        worse: the other one.
        scope: tokens that count.
        beta: strength.
        link: function of the two rewards.
        norm: log-ratios are summed, or averaged over their tokens (over their token weights).
        reference: ratios to the reference policy; False: plain log-probabilities.
        margin: subtracted from the scaled gap (SimPO's gamma).
        epsilon: smoothing of the link ``robust``.
        weigh: tokens: ``none`` alike; ``record``: as it says, end token 0; ``span``: ``span_weight`` inside spans.
        span_weight: weight of edited tokens; others weigh 1.
        flip: smooth each record by its own ``weights.flip``.
        need_weight: a record must say its ``weights.example``.
        kl: share of (KL of worse - KL of better), summed over the answer, subtracted from the gap.
        kl_forward: direction of that KL: KL(ref || pi), or KL(pi || ref).
        kl_detach: no gradient through the KL of the better side.
        references: 2: a composite of the reference and a second one.
        clip: largest relative distance of the second reference from the first in the composite.
    """

    better: Sequence = "+"
    worse: Sequence = "-"
    scope: Scope = "response"
    beta: NotNegative = 0.1
    link: Link = "sigmoid"
    norm: Literal["sum", "mean"] = "sum"
    reference: bool = True
    margin: float = 0.0
    epsilon: Annotated[float, Meta(ge=0, lt=0.5)] = 0.0
    weigh: Literal["none", "record", "span"] = "none"
    span_weight: NotNegative = 1.0
    flip: bool = False
    need_weight: bool = False
    kl: float = 0.0
    kl_forward: bool = True
    kl_detach: bool = False
    references: Literal[1, 2] = 1
    clip: NotNegative = 0.1

    def __post_init__(self) -> None:
        """Refuse fields that the others would leave without effect."""
        plain = self.reference and self.norm == "sum" and self.weigh == "none"
        idle = {
            "margin": self.margin and (self.link != "sigmoid" or self.flip),
            "epsilon": self.epsilon and self.link != "robust",
            "flip": self.flip and self.link != "sigmoid",
            "span_weight": self.span_weight != 1 and self.weigh != "span",
            "kl_detach": self.kl_detach and not self.kl,
            "references": self.references == 2 and not plain,
        }
        for name, found in idle.items():
            if found:
                raise ValueError(f"{name} has no effect beside the other fields of this term")

    @property
    def sequences(self) -> tuple[str, ...]:
        """Better, worse."""
        return (self.better, self.worse)


class KL(Term, tag="kl", frozen=True, kw_only=True):
    """Token-wise KL over the vocabulary, summed; ``forward`` is the share of KL(ref || pi)."""

    sequence: Sequence = "+"
    scope: Scope = "span"
    forward: Share = 0.5

    @property
    def sequences(self) -> tuple[str, ...]:
        """The one."""
        return (self.sequence,)


class NLL(Term, tag="nll", frozen=True, kw_only=True):
    """Negative log-likelihood of an answer: mean over its tokens, or their sum."""

    sequence: Sequence = "+"
    scope: Scope = "response"
    norm: Literal["sum", "mean"] = "mean"
    uses_reference: ClassVar[bool] = False

    @property
    def sequences(self) -> tuple[str, ...]:
        """The one."""
        return (self.sequence,)


class Anchor(Term, tag="anchor", frozen=True, kw_only=True):
    """Keeps the reward of one answer above ``delta``."""

    sequence: Sequence = "+"
    scope: Scope = "response"
    beta: NotNegative = 0.1
    delta: float = 0.0

    @property
    def sequences(self) -> tuple[str, ...]:
        """The one."""
        return (self.sequence,)


class Odds(Term, tag="odds", frozen=True, kw_only=True):
    """ORPO's log odds ratio of chosen over rejected, on mean log-probabilities."""

    uses_reference: ClassVar[bool] = False

    @property
    def sequences(self) -> tuple[str, ...]:
        """Chosen, rejected."""
        return ("+", "-")


class KTO(Term, tag="kto", frozen=True, kw_only=True):
    """Desirable and undesirable answers against the batch's own KL, each answer by itself."""

    beta: NotNegative = 0.1
    desirable: NotNegative = 1.0
    undesirable: NotNegative = 1.0

    @property
    def sequences(self) -> tuple[str, ...]:
        """Chosen, rejected."""
        return ("+", "-")


class MarginSquare(Term, tag="margin-square", frozen=True, kw_only=True):
    """Squared difference of two gaps of log-ratios: (first - second) - (third - fourth)."""

    gaps: tuple[Sequence, Sequence, Sequence, Sequence] = ("+", "2", "2:2", "2:+")

    @property
    def sequences(self) -> tuple[str, ...]:
        """All four."""
        return self.gaps


class K3(Term, tag="k3", frozen=True, kw_only=True):
    """Mean token-wise k3 estimate of the KL between the policies under two images, capped.

    Attributes:
        sequence: the answer under the clean image.
        against: the same answer under the corrupted image; no gradient flows there.
        cap: largest value of one token, nats.
    """

    sequence: Sequence = "+"
    against: Sequence = "'+"
    cap: NotNegative = 10.0
    uses_reference: ClassVar[bool] = False

    @property
    def sequences(self) -> tuple[str, ...]:
        """Clean, corrupted."""
        return (self.sequence, self.against)


class PairList(Term, tag="pair-list", frozen=True, kw_only=True):
    """All pairs of a ranking, each weighted by its difference of rewards to the power ``gamma``."""

    beta: NotNegative = 0.1
    gamma: NotNegative = 0.5

    @property
    def sequences(self) -> tuple[str, ...]:
        """The list."""
        return ("*",)


class TopOne(Term, tag="top-one", frozen=True, kw_only=True):
    """Softmax over a ranking: the best answer against all others."""

    beta: NotNegative = 1.0

    @property
    def sequences(self) -> tuple[str, ...]:
        """The list."""
        return ("*",)


class PlackettLuce(Term, tag="plackett-luce", frozen=True, kw_only=True):
    """Likelihood of the whole order: of a ranking (``*``), or of a ladder of images (``#``)."""

    sequence: Literal["*", "#"] = "#"
    beta: NotNegative = 0.1

    @property
    def sequences(self) -> tuple[str, ...]:
        """The list."""
        return (self.sequence,)


class PolicyGradient(Term, tag="policy-gradient", frozen=True, kw_only=True):
    """Pairwise policy gradient on two rollouts with rewards and the log-probabilities they were drawn at.

    Attributes:
        beta: share of log pi - log pi_ref taken off each reward.
        ratio_cap: largest importance weight of the pair.
    """

    beta: NotNegative = 0.1
    ratio_cap: Annotated[float, Meta(gt=0)] = 10.0

    @property
    def sequences(self) -> tuple[str, ...]:
        """The list."""
        return ("*",)


class Degree(Term, tag="degree", frozen=True, kw_only=True):
    """Cross-entropy of an auxiliary linear head that tells how much was removed from an answer."""

    classes: Annotated[int, Meta(ge=2)] = 5
    uses_reference: ClassVar[bool] = False

    @property
    def sequences(self) -> tuple[str, ...]:
        """Chosen, rejected."""
        return ("+", "-")


AnyTerm = (
    Rank
    | KL
    | NLL
    | Anchor
    | Odds
    | KTO
    | MarginSquare
    | K3
    | PairList
    | TopOne
    | PlackettLuce
    | PolicyGradient
    | Degree
)
