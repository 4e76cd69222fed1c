"""What one sentence states about one finding."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Offsets = tuple[int, int]
Status = Literal["present", "absent", "uncertain"]
ATTRIBUTES = ("side", "location", "severity", "size_mm", "texture", "change", "number", "margin")


@dataclass(frozen=True, slots=True)
class Fact:
    """One finding with its status and attributes.

    Attributes:
        finding: id in the lexicon.
        status: present, absent or uncertain.
        side: the patient's side, left, right or both.
        location, severity, texture, change, margin: canonical values of the lexicon.
        number: how many, as digits, or ``multiple``.
        size_mm: largest dimension in millimetres.
        normality: stated through a normal or abnormal subject ("the heart is enlarged").
        sentence: offsets of the sentence in the text, half-open, code points.
        at: offsets of the words for ``finding``, ``status`` and each attribute that is given.
    """

    finding: str
    status: Status
    sentence: Offsets
    side: str | None = None
    location: str | None = None
    severity: str | None = None
    size_mm: float | None = None
    texture: str | None = None
    change: str | None = None
    normality: bool = False
    at: Mapping[str, Offsets] = field(default_factory=dict)
    number: str | None = None
    margin: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What is stated, without where: equal keys mean the same ("no focal opacity" is "no opacity")."""
        denied = self.status == "absent"
        return (
            self.finding,
            self.status,
            self.side,
            self.location,
            self.severity,
            self.size_mm,
            None if denied else self.texture,
            None if denied else self.change,
            None if denied else self.number,
            None if denied else self.margin,
        )

    def moved(self, by: int) -> "Fact":
        """The same fact in a text where the sentence starts ``by`` code points later."""
        start, end = self.sentence
        at = {name: (first + by, last + by) for name, (first, last) in self.at.items()}
        return replace(self, sentence=(start + by, end + by), at=at)
