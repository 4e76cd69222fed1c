"""The only definition of every record that medpo reads or writes (contract section 5).

All records are strict, frozen msgspec structs: unknown fields, wrong types and values out of range
are errors. ``schema`` is the tag and always the first key. Fields that are absent are not written.
Offsets are half-open ``[start, end)`` in Unicode code points of the stored NFC string.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Offsets = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]
# Of a pattern's end: ``$`` alone would let a line end pass behind it, here and in other files.
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="lower-case hex sha256 of the file's bytes")]
Identifier = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:@#+\-]+$(?!\n)")]
Path = Annotated[str, Meta(min_length=1, max_length=1024, description="relative to --root, '/' separated")]
SpanKind = Literal[
    "status", "side", "location", "severity", "size", "change", "finding", "answer", "normality", "other"
]
Task = Literal["vqa-closed", "vqa-open", "report"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Base of the objects inside records."""


class Window(Part, frozen=True, kw_only=True):
    """Intensity window in stored units after the modality transform (HU for CT)."""

    center: float
    width: Annotated[float, Meta(gt=0)]


class ImageRef(Part, frozen=True, kw_only=True):
    """One image: a path under the root, what it must hash to, and how to look at it.

    Of a stack (third axis of a volume, or DICOM frames) ``frame`` is the index of the picture that is shown;
    or ``montage`` those that are shown beside each other, in reading order; or ``projection`` what is shown of
    all along that axis (``max`` of the values as they look, bright over dark: MIP).
    """

    path: Path
    sha256: Sha256 | None = None
    frame: Annotated[int, Meta(ge=0)] | None = None
    window: Window | None = None
    montage: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=2, max_length=64)] | None = None
    projection: Literal["max", "min", "mean"] | None = None

    def __post_init__(self) -> None:
        """One picture of a stack."""
        if (self.frame, self.montage, self.projection).count(None) < 2:
            raise ValueError("an image is shown by frame, montage or projection, not by several of them")


class MaskRef(Part, frozen=True, kw_only=True):
    """A mask file on the grid of the image; ``value`` selects one label (default: any non-zero)."""

    path: Path
    sha256: Sha256 | None = None
    value: Annotated[int, Meta(ge=1)] | None = None


class Region(Part, frozen=True, kw_only=True):
    """Where a finding is: a mask file, a box ``[x0, y0, x1, y1]`` or a polygon ``[[x, y], ...]``.

    Boxes and polygons are in pixels of the displayed picture (x right, y down, 0 at its upper left corner).
    ``source`` says which program found it, ``score`` how sure that is. ``circular``: the policy itself pointed
    there, so that destroying it says nothing about where the truth lies.
    """

    label: Annotated[str, Meta(min_length=1, max_length=200)]
    mask: MaskRef | None = None
    box: tuple[float, float, float, float] | None = None
    polygon: Annotated[list[tuple[float, float]], Meta(min_length=3, max_length=10000)] | None = None
    spacing: tuple[float, ...] | None = None
    source: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+:\-]{1,130}$(?!\n)")] | None = None
    score: float | None = None
    circular: bool = False

    def __post_init__(self) -> None:
        """Exactly one of mask, box and polygon, and a box with an inside."""
        if (self.mask, self.box, self.polygon).count(None) != 2:
            raise ValueError("a region needs exactly one of mask, box and polygon")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("box must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1")


class Decoding(Part, frozen=True, kw_only=True):
    """How answers were decoded; ``temperature`` 0 is greedy."""

    temperature: Annotated[float, Meta(ge=0)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Meta(ge=1)] = 256
    n: Annotated[int, Meta(ge=1)] = 1


class Policy(Part, frozen=True, kw_only=True):
    """Which model answered: folder name, sha256 digest of its weights, adapter digest, decoding, seed."""

    model: str
    digest: str
    adapter: str | None = None
    decoding: Decoding = Decoding()
    seed: int = 0


class Response(Part, frozen=True, kw_only=True):
    """One sampled answer; ``logprob`` in nats, summed over ``tokens`` tokens (end token included)."""

    text: str
    logprob: float | None = None
    tokens: Annotated[int, Meta(ge=0)] | None = None
    finish: Literal["stop", "length"] = "stop"


class Span(Part, frozen=True, kw_only=True):
    """One edit operation: the differing stretch on each side, and why it was made.

    ``regions`` are the indices of the record's regions that show what the edit is about.
    """

    kind: SpanKind
    label: str | None = None
    chosen: Offsets
    rejected: Offsets
    source: str
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0
    evidence: Offsets | None = None
    regions: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1)] | None = None


class Editor(Part, frozen=True, kw_only=True):
    """Which editor made a pair; ``digest`` covers its rules and lexicon."""

    name: str
    version: str
    digest: str
    seed: int = 0


class Checks(Part, frozen=True, kw_only=True):
    """What verification measured on an accepted pair."""

    word_ratio: float
    edits: int
    facts_changed: int
    distance_chosen: int | None = None
    distance_rejected: int | None = None


class Weights(Part, frozen=True, kw_only=True):
    """Optional per-record weights: ``example`` scales the loss, ``flip`` is RosePO's smoothing."""

    example: Annotated[float, Meta(ge=0)] | None = None
    flip: Annotated[float, Meta(ge=0, le=1)] | None = None


class RegionProof(Part, frozen=True, kw_only=True):
    """The region a corruption changed: content hash, voxels, share of the image, and measured proof.

    ``changed`` is the share of region voxels that differ; ``outside`` the sha256 of source and
    result with the region zeroed (equal by construction, recomputable from either file);
    ``contrast_before``/``contrast_after`` the mean inside minus ring mean, in image units. ``box`` is
    ``[x0, y0, z0, x1, y1, z1]`` in voxels, half open. At ``side``, the longest side of what the model sees,
    ``remaining`` is the share of the marked finding's contrast that is left (absent: it had none) and
    ``texture`` how many times rougher the region is than what surrounds it (absent: nothing does).
    """

    mask: Sha256
    voxels: Annotated[int, Meta(ge=1)]
    fraction: Annotated[float, Meta(gt=0, le=1)]
    changed: Annotated[float, Meta(ge=0, le=1)]
    outside: Sha256
    contrast_before: float
    contrast_after: float
    box: tuple[int, int, int, int, int, int] | None = None
    side: Annotated[int, Meta(ge=1)] | None = None
    remaining: float | None = None
    texture: float | None = None


class Corrupted(Part, frozen=True, kw_only=True):
    """A corrupted (or control) image and how it was made."""

    image: ImageRef
    operator: str
    parameters: dict[str, float | int | str | bool]
    seed: int
    region: RegionProof
    route: str


class Record(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, tag_field="schema"
):
    """Base of all records; ``schema`` is written first."""


class Case(Record, tag="medpo.case/1", frozen=True, kw_only=True):
    """A question about an image, with the truth where it is known.

    ``image`` may be a list for multi-image prompts; regions lie on the first one. ``no_control`` says why a
    corrupted record has no control (a code such as ``no-control-site``).
    """

    id: Identifier
    image: ImageRef | Annotated[list[ImageRef], Meta(min_length=1)]
    prompt: str
    reference: str | None = None
    task: Task
    group: str | None = None
    regions: list[Region] | None = None
    corrupted: Corrupted | None = None
    control: Corrupted | None = None
    no_control: str | None = None
    ext: dict[str, Any] | None = None

    @property
    def images(self) -> list[ImageRef]:
        """The images as a list, whichever way they were written."""
        return self.image if isinstance(self.image, list) else [self.image]


class Sample(Case, tag="medpo.sample/1", frozen=True, kw_only=True):
    """A case with the policy's own answers."""

    policy: Policy
    responses: Annotated[list[Response], Meta(min_length=1)]


class Pair(Case, tag="medpo.pair/1", frozen=True, kw_only=True):
    """The policy's full answer and its minimal edit.

    ``on_policy`` names the side that the policy said; ``origin`` whether the edit corrected an error
    (``corrected``) or made a right answer wrong (``counterfactual``). Undoing ``spans`` on one side
    gives the other side exactly.
    """

    policy: Policy | None = None
    chosen: str
    rejected: str
    origin: Literal["corrected", "counterfactual"]
    on_policy: Literal["chosen", "rejected"] | None = None
    spans: list[Span]
    editor: Editor | None = None
    checks: Checks | None = None
    weights: Weights | None = None

    def __post_init__(self) -> None:
        """Spans are sorted, disjoint and inside the texts; the regions they name are there."""
        check_spans(self.spans, len(self.chosen), len(self.rejected))
        for number, span in enumerate(self.spans):
            if span.regions and max(span.regions) >= len(self.regions or []):
                raise ValueError(f"spans[{number}].regions names a region that the record does not have")


class Ranked(Part, frozen=True, kw_only=True):
    """One answer of a ranking with its reward."""

    text: str
    reward: float
    spans: list[Offsets] | None = None


class Ranking(Case, tag="medpo.ranking/1", frozen=True, kw_only=True):
    """A list of answers with rewards (PerPO, S-DPO)."""

    policy: Policy | None = None
    responses: Annotated[list[Ranked], Meta(min_length=2)]


class Step(Record, tag="medpo.step/1", frozen=True, kw_only=True):
    """One optimizer step: rewards (beta included), cost, and among ``terms`` unweighted means (nats).

    Beside each term of the objective these are ``logps/chosen`` and ``logps/rejected`` (summed log-probabilities
    of what is read of both answers), and where held-out records were measured ``held-out/loss``,
    ``held-out/accuracy`` and ``held-out/margin``.
    """

    step: int
    epoch: float
    loss: float
    terms: dict[str, float]
    rewards: dict[str, float]
    margin: float
    accuracy: float
    grad_norm: float
    lr: float
    tokens: int
    seconds: float
    peak_bytes: int


class Interval(Part, frozen=True, kw_only=True):
    """A metric with its 95 % bootstrap interval; ``n`` items, statements or findings were counted.

    In a difference: ``p`` is the two-sided bootstrap sign share, ``fixed`` and ``broken`` count what
    became right and what became wrong, ``mcnemar`` is the exact p of those where items are counted;
    ``p_holm`` is p adjusted over the measures that were declared. Of several runs (seeds) ``value`` is
    the mean and ``seeds`` holds each run's own value.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    fixed: int | None = None
    broken: int | None = None
    mcnemar: float | None = None
    p_holm: float | None = None
    seeds: list[float] | None = None


class Score(Record, tag="medpo.score/1", frozen=True, kw_only=True):
    """The measures of one item under one profile; ``answer`` is what was scored."""

    id: Identifier
    group: str | None = None
    task: Task | None = None
    arm: str | None = None
    metrics: dict[str, float]
    profile: str
    answer: str | None = None
    ext: dict[str, Any] | None = None


class Wording(Part, frozen=True, kw_only=True):
    """One wording of the question to a judge, tried on a sample of pairs in both orders.

    ``first`` is the share of its replies that prefer the first answer, ``fairness`` (ZEPO) minus its distance from
    one half, each unusable reply taken for the worse; the fairest wording is ``chosen``.
    """

    name: str
    prompt: str
    asked: int
    unparsed: int
    first: float | None = None
    fairness: float
    chosen: bool = False


class Judged(Part, frozen=True, kw_only=True):
    """A language model as judge: what it was asked, by which wording, and how often its reply was unusable.

    ``model`` is the name that was sent, ``reported`` the one that the server gave back. ``reasons`` counts unusable
    replies by code (after the second try). Of pairs, each asked about in both orders: ``same`` were equal texts and
    not asked about, ``consistent`` is the share with one answer preferred in both orders, ``first`` the share of
    replies that prefer the first answer.
    """

    mode: Literal["grade", "pair"]
    model: str
    reported: str | None = None
    prompt: str
    prompt_text: str | None = None
    asked: int
    unparsed: int
    reasons: dict[str, int]
    same: int | None = None
    consistent: float | None = None
    first: float | None = None
    wordings: list[Wording] | None = None


class Summary(Record, tag="medpo.summary/1", frozen=True, kw_only=True):
    """All metrics of one arm (or of the difference of two) with intervals.

    ``curves`` holds columns of equal length to plot: ``closed.reliability`` (low, high, predicted, observed, n: bins
    of p(yes)) and ``closed.risk_coverage`` (coverage, risk, threshold), of the arm's first run. ``judge`` is there
    where a language model judged.
    """

    arm: str | None = None
    against: str | None = None
    metrics: dict[str, Interval]
    profile: str
    seed: int
    versions: dict[str, str]
    curves: dict[str, dict[str, list[float]]] | None = None
    judge: Judged | None = None


class Trial(Record, tag="medpo.trial/1", frozen=True, kw_only=True):
    """One row of a run table: what a training run reached, what it cost, and how it was set.

    ``metrics`` are values of measures by name (shares as 0 to 1), ``seconds`` the time of training. Rows of
    one ``run`` with different seeds are averaged by ``medpo recipe tune``.
    """

    run: Annotated[str, Meta(min_length=1, max_length=200)]
    seed: Annotated[int, Meta(ge=0)] = 0
    metrics: dict[str, float]
    seconds: Annotated[float, Meta(ge=0)] | None = None
    settings: dict[str, Any] | None = None


class Reject(Record, tag="medpo.reject/1", frozen=True, kw_only=True):
    """A record that was skipped, by position and reason, never by its text."""

    stage: str
    source: str
    line: int
    id: str | None = None
    path: str | None = None
    code: str
    message: str


class End(Record, tag="medpo.end/1", frozen=True, kw_only=True):
    """The last record of every output; its absence means that the writer was cut off."""

    stage: str
    run: str
    records: int
    rejected: int


def check_spans(spans: list[Span], chosen_length: int, rejected_length: int) -> None:
    """Raise ValueError unless spans are ordered, disjoint and inside both texts."""
    for side, length in (("chosen", chosen_length), ("rejected", rejected_length)):
        previous = 0
        for number, span in enumerate(spans):
            start, end = getattr(span, side)
            if not (previous <= start <= end <= length):
                raise ValueError(f"spans[{number}].{side} is out of order, overlapping or outside the text")
            previous = end


AnyRecord = Case | Sample | Pair | Ranking | Step | Score | Summary | Trial | Reject | End

RECORDS: dict[str, type[Record]] = {
    "case": Case,
    "sample": Sample,
    "pair": Pair,
    "ranking": Ranking,
    "step": Step,
    "score": Score,
    "summary": Summary,
    "trial": Trial,
    "reject": Reject,
    "end": End,
}
