"""A finding as one sentence mentions it, while cues and attributes are being given to it."""

from dataclasses import dataclass, field

from medpo_cli.text.fact import Offsets, Status
from medpo_cli.text.scan import Item


@dataclass(slots=True)
class Mention:
    """A finding in the sentence: its words, where its cues may stand, and what was said of it.

    ``said`` are all attributes in order; ``attributes`` the first of each.
    """

    findings: tuple[str, ...]
    start: int
    end: int
    cue_from: int
    cue_to: int
    normality: bool = False
    abnormal: bool = True
    status: Status = "present"
    status_at: Offsets | None = None
    attributes: dict[str, Item] = field(default_factory=dict)
    said: list[Item] = field(default_factory=list)
