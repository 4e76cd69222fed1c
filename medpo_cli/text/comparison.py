"""What an answer states against the truth, finding by finding."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medpo_cli.text.fact import Fact

_COMPARED = ("side", "location", "severity", "size_mm", "change", "number", "margin", "texture")
# textures that cannot both be right; others ("patchy", "hazy") may describe the same thing
_OPPOSED = frozenset(
    frozenset(pair)
    for pair in (
        ("solid", "cystic"), ("solid", "part_solid"), ("solid", "ground_glass"), ("focal", "diffuse"),
        ("homogeneous", "heterogeneous"), ("calcified", "cavitary"), ("calcified", "enhancing"),
        ("calcified", "cystic"), ("calcified", "ground_glass"), ("dense", "ground_glass"),
    )
)  # fmt: skip
_SIZE_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Match:
    """One statement of the answer beside the truth about the same finding.

    Attributes:
        said: the answer's fact; None if it is silent.
        truth: the reference's fact; None if it is silent.
        errors: of hallucinated, omitted, hedged, side, location, severity, size, change, number, margin, texture.
    """

    finding: str
    said: Fact | None
    truth: Fact | None
    errors: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Said, confirmed by the truth, and without any error."""
        return not self.errors and self.said is not None and self.truth is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All matches of an answer with the truth, in the order of the answer, then what it left out."""

    matches: tuple[Match, ...]
    contradictory: tuple[str, ...] = ()

    def wrong(self, error: str) -> list[Match]:
        """Matches with the named error."""
        return [match for match in self.matches if error in match.errors]

    @property
    def hallucinated(self) -> list[Match]:
        """Said to be present; the truth denies it or is silent (closed world)."""
        return self.wrong("hallucinated")

    @property
    def omitted(self) -> list[Match]:
        """Present in truth; the answer denies it or is silent."""
        return self.wrong("omitted")

    @property
    def side_errors(self) -> list[Match]:
        """Right finding, wrong side."""
        return self.wrong("side")

    @property
    def location_errors(self) -> list[Match]:
        """Right finding, wrong zone or lobe."""
        return self.wrong("location")

    @property
    def severity_errors(self) -> list[Match]:
        """Right finding, wrong grade or size class."""
        return self.wrong("severity")

    @property
    def size_errors(self) -> list[Match]:
        """Right finding, measured differently by more than 5 %."""
        return self.wrong("size")

    @property
    def right(self) -> list[Match]:
        """Statements that the truth confirms."""
        return [match for match in self.matches if match.right]

    @property
    def errors(self) -> int:
        """Number of wrong statements and attributes."""
        return sum(len(match.errors) for match in self.matches)

    @property
    def distance(self) -> int:
        """How far the answer is from the truth: 2 for a wrong status, 1 for a hedge or a wrong attribute."""
        weights = {"hallucinated": 2, "omitted": 2}
        return sum(weights.get(error, 1) for match in self.matches for error in match.errors)


def compare(said: Sequence[Fact], truth: Sequence[Fact]) -> Comparison:
    """Compare two lists of facts.

    Facts of a finding are paired by equal side first, then by equal status, then in order; what is
    not paired is a hallucination (said, present), an omission (truth, present) or no error
    (absence that the other side does not mention). A missing attribute is no error, a different
    one is.
    """
    matches: list[Match] = []
    missing: list[Match] = []
    for finding in dict.fromkeys(fact.finding for fact in (*said, *truth)):
        ours = [fact for fact in said if fact.finding == finding]
        theirs = [fact for fact in truth if fact.finding == finding]
        for match in _finding(finding, ours, theirs):
            (missing if match.said is None else matches).append(match)
    order = {id(fact): number for number, fact in enumerate(said)}
    matches.sort(key=lambda match: order.get(id(match.said), len(said)))
    return Comparison((*matches, *missing), contradictory(said))


def contradictory(facts: Iterable[Fact]) -> tuple[str, ...]:
    """Findings that are stated present and absent at once (same side, or a side not told)."""
    found = []
    facts = list(facts)
    for finding in dict.fromkeys(fact.finding for fact in facts):
        own = [fact for fact in facts if fact.finding == finding]
        yes = [fact.side for fact in own if fact.status == "present"]
        no = [fact.side for fact in own if fact.status == "absent"]
        if any(a == b or a is None or b is None or "both" in (a, b) for a in yes for b in no):
            found.append(finding)
    return tuple(found)


def meaning(facts: Iterable[Fact]) -> Counter[tuple[object, ...]]:
    """The multiset of what is stated, wording and order aside."""
    return Counter(fact.key for fact in facts)


def _finding(finding: str, said: list[Fact], truth: list[Fact]) -> list[Match]:
    said, truth = _split_both(said, truth), _split_both(truth, said)
    pairs: list[tuple[Fact | None, Fact | None]] = []
    for test in (_same_side_and_status, _same_side, _same_status, _no_conflict):
        for fact in list(said):
            partner = next((other for other in truth if test(fact, other)), None)
            if partner is not None:
                said.remove(fact)
                truth.remove(partner)
                pairs.append((fact, partner))
    paired = [partner for _, partner in pairs if partner is not None]
    pairs += [(fact, _repeated(fact, paired)) for fact in said]
    pairs += [(None, fact) for fact in truth]
    return [Match(finding, ours, theirs, _errors(ours, theirs)) for ours, theirs in pairs]


def _split_both(facts: list[Fact], others: list[Fact]) -> list[Fact]:
    """A fact about both sides counts as left and right where the other text speaks of each on its own."""
    if {"left", "right"} <= {fact.side for fact in others}:
        return [half for fact in facts for half in _halves(fact)]
    return list(facts)


def _halves(fact: Fact) -> list[Fact]:
    if fact.side != "both":
        return [fact]
    return [_with_side(fact, "left"), _with_side(fact, "right")]


def _with_side(fact: Fact, side: str) -> Fact:
    return Fact(
        fact.finding, fact.status, fact.sentence, side, fact.location, fact.severity, fact.size_mm,
        fact.texture, fact.change, fact.normality, fact.at, fact.number, fact.margin,
    )  # fmt: skip


def _same_side_and_status(a: Fact, b: Fact) -> bool:
    return a.side == b.side and a.status == b.status and (a.location == b.location or None in (a.location, b.location))


def _same_side(a: Fact, b: Fact) -> bool:
    return a.side == b.side


def _same_status(a: Fact, b: Fact) -> bool:
    return a.status == b.status


def _no_conflict(a: Fact, b: Fact) -> bool:
    """Different status: the same statement only if one of them covers the other's side."""
    return a.side is None or b.side is None or "both" in (a.side, b.side)


def _repeated(fact: Fact, paired: list[Fact]) -> Fact | None:
    """For a surplus statement: the truth that another statement already met, if it is about the same."""
    same = [other for other in paired if _no_conflict(fact, other) or fact.side == other.side]
    return next((other for other in same if other.status == fact.status), same[0] if same else None)


def _errors(said: Fact | None, truth: Fact | None) -> tuple[str, ...]:
    if said is None:
        return ("omitted",) if truth is not None and truth.status == "present" else ()
    if truth is None:
        return ("hallucinated",) if said.status == "present" else ()
    if said.status != truth.status:
        if "uncertain" in (said.status, truth.status):
            return ("hedged",)
        return ("hallucinated",) if said.status == "present" else ("omitted",)
    if said.status == "absent":
        return ()
    return tuple(name.removesuffix("_mm") for name in _COMPARED if _differs(name, said, truth))


def _differs(name: str, said: Fact, truth: Fact) -> bool:
    ours, theirs = getattr(said, name), getattr(truth, name)
    if ours is None or theirs is None:
        return False
    if name == "size_mm":
        return bool(abs(ours - theirs) > _SIZE_TOLERANCE * theirs)
    if name == "texture":
        return {ours, theirs} in _OPPOSED
    return bool(ours != theirs)
