"""What the reference settles about a question: facts, a yes or no, a member of a closed set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from medpo_cli.text.answers import Member, commitment, members
from medpo_cli.text.comparison import Comparison, compare
from medpo_cli.text.fact import Fact, Status
from medpo_cli.text.facts import extract, named
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.words import word_count

_OPPOSITE: Mapping[Status, Status] = {"present": "absent", "absent": "present", "uncertain": "uncertain"}
_SHORT = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as an answer to a question.

    Attributes:
        facts: what it states; for a bare yes or no, what that says about the finding asked for.
        said: the yes or no of an answer to a closed question.
        members: closed sets of which it names one value; compared only if the answer is bare.
        bare: a yes or no, or a closed-set word, without a statement.
    """

    text: str
    facts: tuple[Fact, ...]
    said: Literal["yes", "no"] | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """The prompt as far as the rules need it: what it asks for, and whether yes or no answers it."""

    asked: tuple[str, ...]
    facts: tuple[Fact, ...]
    closed: bool
    report: bool


def ask(prompt: str, task: str, lexicon: Lexicon) -> Question:
    """Read a prompt."""
    return Question(
        tuple(named(prompt, lexicon)),
        tuple(extract(prompt, lexicon, question=True)),
        task == "vqa-closed",
        task == "report",
    )


def read(text: str, question: Question, lexicon: Lexicon) -> Reading:
    """Read an answer or a reference as an answer to ``question``."""
    facts = tuple(extract(text, lexicon))
    said = commitment(text) if question.closed else None
    found = {} if question.report or (not facts and word_count(text) > _SHORT) else members(text, lexicon)
    if facts:
        return Reading(text, facts, said, found)
    implied = _implied(text, said, question)
    return Reading(text, implied, said, found, bare=said is not None or bool(found))


def difference(answer: Reading, truth: Reading) -> tuple[Comparison, int]:
    """The comparison of facts, and the distance: that of the facts, a wrong yes or no, a wrong member."""
    comparison = compare(answer.facts, truth.facts if answer.facts or not answer.bare else ())
    distance = comparison.distance
    if answer.said and truth.said and answer.said != truth.said:
        distance += 1
    if answer.bare:
        shared = answer.members.keys() & truth.members.keys()
        distance += sum(truth.members[name].value != answer.members[name].value for name in shared)
    return comparison, distance


def confirmed(answer: Reading, truth: Reading, comparison: Comparison) -> bool:
    """True if at least one thing that the answer says is settled by the truth."""
    if comparison.right or (answer.said is not None and answer.said == truth.said):
        return True
    return answer.bare and bool(answer.members.keys() & truth.members.keys())


def _implied(text: str, said: str | None, question: Question) -> tuple[Fact, ...]:
    """The fact that a bare yes or no states about the one finding asked for."""
    if said is None or len(question.facts) != 1:
        return ()
    asked = question.facts[0]
    status = asked.status if said == "yes" else _OPPOSITE[asked.status]
    whole = (0, len(text))
    return (replace(asked, status=status, sentence=whole, at={"finding": whole}),)
