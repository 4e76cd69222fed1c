"""Makes a true report wrong in one to three known ways; knows the reports' own tables, not the editor's."""

import random
from dataclasses import dataclass, replace

from data.drawn_reports import DOMAINS, Statement, as_text, true_report

KINDS = ("polarity", "side", "place", "grade", "size", "number", "change", "hallucinated", "omitted")


@dataclass(frozen=True)
class Wrong:
    """A report, its truth and what was done to it."""

    domain: str
    truth: str
    said: str
    kinds: tuple[str, ...]


def inject(domain: str, seed: int) -> Wrong:
    """A wrong report; each statement is touched at most once."""
    generator = random.Random(f"{domain}-{seed}")
    statements = true_report(domain, generator)
    wrong: list[Statement] = list(statements)
    kinds: list[str] = []
    free = list(range(len(statements)))
    for _ in range(generator.randint(1, 3)):
        options = [(kind, place) for place in free for kind in KINDS if _fits(kind, wrong[place], len(statements))]
        if not options:
            break
        wanted = generator.choice(sorted({kind for kind, _ in options}))
        kind, place = generator.choice([option for option in options if option[0] == wanted])
        free.remove(place)
        kinds.append(kind)
        if kind == "hallucinated":
            continue
        wrong[place] = _changed(kind, wrong[place], generator)
    said = [one for one in wrong if one.finding]
    absent = [one for one in DOMAINS[domain] if one.finding not in {two.finding for two in statements}]
    for _ in range(kinds.count("hallucinated")):
        extra = absent.pop(generator.randrange(len(absent))).drawn(generator)
        said.insert(generator.randint(0, len(said)), extra)
    return Wrong(domain, as_text(statements), as_text(said), tuple(kinds))


def _fits(kind: str, statement: Statement, length: int) -> bool:
    if kind == "hallucinated":
        return length < len(DOMAINS["brain_mr"]) - 2
    if kind == "polarity":
        return bool(statement.denied)
    if statement.values is None:
        return False
    return kind == "omitted" or (kind in dict(statement.values) and len(statement.slots[kind]) > 1)


def _changed(kind: str, statement: Statement, generator: random.Random) -> Statement:
    if kind == "omitted":
        return replace(statement, finding="")
    if kind == "polarity":
        return statement.drawn(generator) if statement.values is None else replace(statement, values=None)
    other = {
        name: generator.choice([value for value in statement.slots[name] if value != old]) if name == kind else old
        for name, old in statement.values or ()
    }
    return replace(statement, values=tuple(other.items()))
