"""What of a grounded case can be looked for: the finding, the regions that show it, the words that state it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medpo_cli.evaluation.grounding import slug
from medpo_cli.schema.records import Case, Pair
from medpo_cli.text.fact import Fact, Offsets
from medpo_cli.text.facts import extract, named
from medpo_cli.text.lexicon import Lexicon


@dataclass(frozen=True)
class Target:
    """Regions that belong together; ``finding`` is empty where a whole answer is about them."""

    finding: str
    regions: tuple[int, ...]


def targets(case: Case, lexicon: Lexicon) -> list[Target]:
    """What a case asks about that it has regions for; none where the policy itself pointed.

    A report is asked about each finding by itself. A question is asked about the regions of what it names; a label
    that is no finding ("lesion") belongs to every question, and so do all labels where the question names none.
    """
    regions = case.regions or []
    if isinstance(case, Pair) or any(region.circular for region in regions):
        return []
    labels = [finding_of(region.label, lexicon) for region in regions]
    if case.task == "report":
        return [Target(label, _at(labels, label)) for label in dict.fromkeys(labels)]
    asked = set(named(case.prompt, lexicon))
    found = tuple(k for k, label in enumerate(labels) if not asked or not label or label in asked)
    return [Target("", found)] if found else []


def finding_of(label: str, lexicon: Lexicon) -> str:
    """The lexicon's finding that a region's label names; empty if it names none or several."""
    if slug(label) in lexicon.findings:
        return slug(label)
    found = named(label.replace("_", " "), lexicon)
    return found[0] if len(found) == 1 else ""


def words(answer: str, target: Target, lexicon: Lexicon) -> list[Offsets]:
    """Half-open code points of the answer that state the target; none if it does not."""
    if not target.finding:
        return [(0, len(answer))] if answer.strip() else []
    return _stated(extract(answer, lexicon), target.finding)


def _stated(facts: Sequence[Fact], finding: str) -> list[Offsets]:
    own: list[Mapping[str, Offsets]] = [f.at for f in facts if f.finding == finding and f.status == "present"]
    return sorted({place for at in own for place in at.values() if place[0] < place[1]})


def _at(labels: Sequence[str], label: str) -> tuple[int, ...]:
    return tuple(k for k, other in enumerate(labels) if other == label)
