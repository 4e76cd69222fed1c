"""All phrases of a lexicon as a tree of words, in every spelling and number, with the roles that each can play."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from medpo_cli.errors import ConfigError
from medpo_cli.text.entries import Attributes, Table
from medpo_cli.text.words import phrase_words

if TYPE_CHECKING:
    from medpo_cli.text.lexicon import Lexicon

_PARTED = frozenset({"finding", "negation_after", "uncertain_after", "change"})
_NO_ROLE = frozenset({"verbs", "impossible", "passed", "adverbs", "nouns", "spellings"})


class Role(NamedTuple):
    """What a phrase does: its part in a sentence and its canonical value."""

    part: str
    value: str


class Node:
    """A step in the tree of all phrases: the words that may follow, and the roles if a phrase ends here.

    The words of a ``parted`` phrase may have others between them; those of one that ``names_body`` may be
    its organ.
    """

    __slots__ = ("following", "names_body", "parted", "roles")

    def __init__(self) -> None:
        self.following: dict[str, Node] = {}
        self.roles: tuple[Role, ...] = ()
        self.parted = False
        self.names_body = False


def _roles(lexicon: "Lexicon") -> Iterator[tuple[str, Role]]:
    """Every phrase of the lexicon with its part and value."""
    for key, finding in lexicon.findings.items():
        for term in finding.terms:
            for form in (term, *_plurals(term)):
                yield form, Role("finding", key)
    for number, entry in enumerate(lexicon.normality):
        for subject in entry.subjects:
            yield subject, Role("subject", str(number))
        for phrase in (*entry.normal, *entry.abnormal):
            yield phrase, Role("predicate", phrase)
    for part in lexicon.cues.__struct_fields__:
        if part not in _NO_ROLE:
            for phrase in getattr(lexicon.cues, part):
                yield phrase, Role(part, phrase)
    for organ, phrases in lexicon.organs.items():
        for phrase in phrases:
            for form in (phrase, *_plurals(phrase)):
                yield form, Role("organ", organ)
    for part in lexicon.attributes.__struct_fields__:
        for value, phrases in getattr(lexicon.attributes, part).items():
            for phrase in phrases:
                yield phrase, Role(part, value)


def single_words(attributes: Attributes) -> frozenset[str]:
    """The attributes that are said in one word."""
    tables: list[Table] = [getattr(attributes, part) for part in attributes.__struct_fields__]
    words = (phrase_words(phrase) for table in tables for phrases in table.values() for phrase in phrases)
    return frozenset(one[0] for one in words if len(one) == 1)


_ENDINGS = (("is", "es"), ("us", "i"), ("um", "a"), ("ix", "ices"), ("ex", "ices"), ("oma", "omata"), ("a", "ae"))


def _plurals(term: str) -> Iterator[str]:
    """Plurals of the last word, English and Latin, and of the head of "fracture of the rib"."""
    if term.endswith("y") and term[-2:-1] not in "aeiou":
        yield term[:-1] + "ies"
    elif not term.endswith(("s", "x", "ch")):
        yield term + "s"
    for ending, plural in _ENDINGS:
        if term.endswith(ending):
            yield term.removesuffix(ending) + plural
            break
    head, of, rest = term.partition(" of ")
    if of:
        for form in _plurals(head):
            yield form + of + rest


def _spelt(phrase: str, spellings: Table) -> Iterator[str]:
    """The phrase as it is, with each of its words in British spelling, and with all of them."""
    yield phrase
    whole = phrase
    for american, british in spellings.items():
        if american in phrase:
            whole = whole.replace(american, british[0])
            for other in british:
                yield phrase.replace(american, other)
    if whole != phrase:
        yield whole


def index_of(lexicon: "Lexicon") -> Node:
    """All phrases word by word; one term for two findings is an error."""
    root = Node()
    spelt = ((form, role) for phrase, role in _roles(lexicon) for form in _spelt(phrase, lexicon.cues.spellings))
    for phrase, role in spelt:
        words = phrase_words(phrase)
        if not words:
            raise ConfigError(f"lexicon: {role.part}: a phrase holds no word")
        node = root
        for word in words:
            node = node.following.get(word) or node.following.setdefault(word, Node())
        for other in node.roles:
            if role.part == "finding" == other.part and role.value != other.value:
                raise ConfigError(
                    f"lexicon: findings.{role.value}.terms: {' '.join(words)} is also findings.{other.value}'s"
                )
        if role not in node.roles:
            node.roles = (*node.roles, role)
            node.parted = node.parted or role.part in _PARTED
            node.names_body = node.names_body or role.part in ("finding", "subject")
    return root
