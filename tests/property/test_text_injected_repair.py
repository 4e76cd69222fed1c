"""True reports with one to three known errors, repaired against the truth; the truth knows every sentence.

``PYTHONPATH=tests python tests/property/test_text_injected_repair.py [FAILURES]`` prints the shares, also of
other draws of the same templates (seed 1), and writes the failures of seed 0.
"""

import random
import re
import sys
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

import pytest
from data.injector import KINDS, Wrong, inject
from data.true_reports import Report, Statement, reports, sentences

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run

SHARE = 0.9
DENIALS = {"no", "not", "neither", "nor", "without", "clear", "normal"}
FILLERS = {
    "a",
    "an",
    "the",
    "there",
    "is",
    "are",
    "in",
    "of",
    "seen",
    "present",
    "evidence",
    "or",
    "and",
    "lobe",
    "zone",
}
Made = tuple[Wrong, list[Pair], str]


def cases(seed: int = 0) -> list[Wrong]:
    """Every report with one error of each kind that has a place in it, and with two and three mixed ones."""
    made: list[Wrong | None] = []
    for report in reports(seed):
        draw = random.Random(f"{seed} {report.id}")
        made += [inject(report, [kind], draw) for kind in KINDS]
        made += [inject(report, draw.sample(KINDS, count), draw) for count in (2, 3) for _ in range(3)]
    return [wrong for wrong in made if wrong is not None]


@lru_cache(maxsize=2)
def edited(seed: int = 0) -> list[Made]:
    """All cases with the pairs that the editor made, or the code of its refusal."""
    found = []
    for number, wrong in enumerate(cases(seed)):
        codes: list[str] = []
        sample = Sample(
            id=f"i{number}", image=ImageRef(path="x.png"), prompt="Describe the findings.", task="report",
            reference=wrong.report.text, policy=Policy(model="m", digest="0" * 64),
            responses=[Response(text=wrong.text)],
        )  # fmt: skip
        context = Context(reject=lambda _id, error, codes=codes: codes.append(error.reason))
        found.append((wrong, list(run([sample], EditConfig(), context)), codes[0] if codes else ""))
    return found


def repaired(made: Made) -> bool:
    """Chosen is the truth itself; where a statement was left out, its place may be another one."""
    wrong, pairs, _ = made
    corrected = [pair.chosen for pair in pairs if pair.origin == "corrected"]
    if not corrected:
        return False
    if any(error.kind == "omitted" for error in wrong.errors):
        return Counter(sentences(corrected[0])) == Counter(sentences(wrong.report.text))
    return corrected[0] == wrong.report.text


def known_wrong(text: str, report: Report) -> int:
    """Sentences of the truth that are missing, and sentences that are neither true nor a shorter form of a true one."""
    said, truth = Counter(sentences(text)), Counter(sentences(report.text))
    surplus = [
        sentence for sentence in (said - truth).elements() if not any(_within(sentence, other) for other in truth)
    ]
    return (truth - said).total() + len(surplus)


def _within(sentence: str, true: str) -> bool:
    """``sentence`` says nothing but what ``true`` says ("No effusion." of "No effusion or pneumothorax.")."""
    short, full = ({*re.findall(r"[\w.-]*\w", text.lower())} for text in (sentence, true))
    return bool(short & DENIALS) == bool(full & DENIALS) and short <= full | DENIALS | FILLERS


def shares(found: list[Made]) -> dict[str, tuple[int, int]]:
    """Repaired and all: by domain, kind of a single error, number of errors."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for made in found:
        wrong = made[0]
        kinds = [error.kind for error in wrong.errors]
        names = ["all", wrong.report.domain, f"{len(kinds)} errors" if len(kinds) > 1 else kinds[0]]
        for name in names:
            counts[name][0] += repaired(made)
            counts[name][1] += 1
    return {name: (right, number) for name, (right, number) in counts.items()}


def table(found: list[Made]) -> str:
    return "\n".join(
        f"{name:12} {right:4}/{number:4} = {right / number:.1%}" for name, (right, number) in shares(found).items()
    )


def test_known_wrong_counts_sentences() -> None:
    """One replaced is 2, one more is 1, one less is 1, another order 0, in two halves 1 (one is missing)."""
    lines = ["No pleural effusion or pneumothorax.", "Mild left scoliosis.", "The heart is enlarged."]
    report = Report("x", "cxr", tuple(Statement(text, (), "") for text in lines))
    cases = {
        "": 0, "Else.": 1, "No right effusion.": 1, "There is a pneumothorax.": 1, "No pneumothorax.": 0,
        "Left scoliosis.": 0,
    }  # fmt: skip
    assert {more: known_wrong(f"{report.text} {more}".strip(), report) for more in cases} == cases
    assert known_wrong(" ".join(reversed(lines)), report) == 0
    assert known_wrong(" ".join([*lines[:2], "The heart is small."]), report) == 2
    assert known_wrong(" ".join(lines[:2]), report) == 1
    assert known_wrong(" ".join(["No pleural effusion. No pneumothorax.", *lines[1:]]), report) == 1


def test_nine_of_ten_are_repaired_exactly() -> None:
    found = edited()
    print("\n" + table(found))
    right = sum(map(repaired, found))
    assert right >= SHARE * len(found), table(found)


@pytest.mark.parametrize("domain", ["cxr", "ct", "brain", "abdomen"])
def test_nine_of_ten_in_every_domain(domain: str) -> None:
    right, number = shares(edited())[domain]
    assert right >= SHARE * number


@pytest.mark.parametrize("kind", KINDS)
def test_nine_of_ten_of_every_kind(kind: str) -> None:
    right, number = shares(edited())[kind]
    assert number >= 30
    assert right >= SHARE * number


def test_no_accepted_pair_prefers_what_is_more_wrong() -> None:
    bad = [
        pair.id
        for wrong, pairs, _ in edited()
        for pair in pairs
        if known_wrong(pair.chosen, wrong.report) > known_wrong(pair.rejected, wrong.report)
    ]
    assert bad == []


def failures(found: list[Made]) -> str:
    """What was not repaired, by kind and reason, with examples."""
    groups: dict[tuple[str, str], list[Made]] = defaultdict(list)
    for made in found:
        wrong, pairs, code = made
        if len(wrong.errors) == 1 and not repaired(made):
            corrected = any(pair.origin == "corrected" for pair in pairs)
            reason = (
                "repaired, but otherwise than the truth"
                if corrected
                else code or "taken for right: only counterfactuals"
            )
            groups[wrong.errors[0].kind, reason].append(made)
    lines = []
    for (kind, reason), rows in sorted(groups.items(), key=lambda item: (KINDS.index(item[0][0]), -len(item[1]))):
        lines.append(f"\n## {kind}: {reason} ({len(rows)})\n")
        seen: set[str] = set()
        for wrong, pairs, _ in rows:
            (error,) = wrong.errors
            if error.finding in seen or len(seen) > 7:
                continue
            seen.add(error.finding)
            extra = sorted(set(sentences(pairs[0].chosen)) - set(sentences(wrong.report.text))) if pairs else []
            note = f"; chosen has {extra}" if extra else ""
            lines.append(f"- {wrong.report.domain} {error.finding}: truth `{error.true}` wrong `{error.wrong}`{note}")
    return "\n".join(lines)


if __name__ == "__main__":
    for seed in (0, 1):
        print(f"seed {seed}\n{table(edited(seed))}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(f"# Repair today\n\n```\n{table(edited())}\n```\n{failures(edited())}\n")
