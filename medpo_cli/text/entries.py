"""The entries of a lexicon file, strict: unknown keys and wrong types are errors."""

from typing import Annotated

import msgspec
from msgspec import Meta

Phrases = list[Annotated[str, Meta(min_length=1, max_length=100)]]
Table = dict[str, Phrases]
Share = Annotated[float, Meta(ge=0, le=1)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the parts of a lexicon file."""


class Statement(Entry, frozen=True):
    """How a finding is stated in one style; see the head of ``chest_xray.toml`` for the notation."""

    present: str
    absent: str


class Finding(Entry, frozen=True):
    """One finding: its words, and the attribute values that a made-up one may have.

    ``zone`` follows upper, middle or lower ("left lower lobe"). ``elsewhere`` names the finding that the
    same words mean where an organ is named ("cyst" of the kidney); a ``generic`` one means nothing else.
    """

    name: str
    terms: Annotated[Phrases, Meta(min_length=1)]
    sides: bool = False
    locations: list[str] = []
    severities: list[str] = []
    article: bool = True
    zone: str = "lobe"
    elsewhere: dict[str, str] = {}
    generic: bool = False
    statements: dict[str, Statement] = {}


class Normality(Entry, frozen=True):
    """A subject with what makes it normal or abnormal: "the heart is enlarged"."""

    findings: Annotated[list[str], Meta(min_length=1)]
    subjects: Annotated[Phrases, Meta(min_length=1)]
    normal: Annotated[Phrases, Meta(min_length=1)]
    abnormal: Annotated[Phrases, Meta(min_length=1)]


class Cues(Entry, frozen=True):
    """Triggers of negation and uncertainty, what ends their reach, small words of structure.

    ``nouns`` says what an abnormal predicate is called as a noun ("enlarged": "enlargement of the heart");
    ``verbs`` mark full sentences; ``passed`` may part the words of a finding, as attributes may, and
    ``adverbs`` those of a cue; ``spellings`` are British for American letters; a counterfactual never says
    what is ``impossible``.
    """

    negation_before: Phrases = []
    negation_after: Phrases = []
    uncertain_before: Phrases = []
    uncertain_after: Phrases = []
    breakers: Phrases = []
    joins: Phrases = []
    prepositions: Phrases = []
    ignore: Phrases = []
    silent: Phrases = []
    tips: Phrases = []
    nouns: Table = {}
    passed: Phrases = []
    adverbs: Phrases = []
    spellings: Table = {}
    answers: Phrases = []
    verbs: Phrases = []
    impossible: Phrases = []


class Attributes(Entry, frozen=True):
    """Canonical values of each attribute and the phrases that say them."""

    side: Table = {}
    location: Table = {}
    severity: Table = {}
    texture: Table = {}
    margin: Table = {}
    number: Table = {}
    change: Table = {}


class Swaps(Entry, frozen=True):
    """For a word the words that make its statement wrong."""

    side: Table = {}
    location: Table = {}
    severity: Table = {}
    texture: Table = {}
    margin: Table = {}
    number: Table = {}
    change: Table = {}


class Head(Entry, frozen=True):
    """What a file is; ``language`` must be English, the only one the cues cover."""

    name: str
    version: str
    language: Annotated[str, Meta(pattern=r"^en$(?!\n)")] = "en"
