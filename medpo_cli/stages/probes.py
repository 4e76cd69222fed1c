"""``medpo import probes``: paired yes/no cases from the facts of reports, as ``medpo eval`` scores them.

POPE (Li et al. 2023) asks about findings that are there and as many that are not, drawn at random, by how often they
occur (popular), or by how often they occur together with what is there (adversarial). ProbMed (Yan et al. 2024) pairs
every true question with an adversarial one and adds questions about attributes; both halves must be right.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import msgspec

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.targets import finding_of
from medpo_cli.io.context import Context
from medpo_cli.io.files import short_hash
from medpo_cli.schema.records import Case
from medpo_cli.text.draw import Draw
from medpo_cli.text.fact import Fact
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon
from medpo_cli.text.probes import Probe, Settled, attributes, existence, settled

Style = Literal["pope", "probmed"]
Negatives = Literal["random", "popular", "adversarial"]
_LONGEST = 100


@dataclass(frozen=True)
class Settings:
    """How probes are made.

    Attributes:
        style: ``pope`` asks about findings, ``probmed`` also about their side, location and severity.
        negatives: how absent findings are chosen.
        per_image: most pairs about findings of one report (POPE: 3); 0 for all.
        closed_world: the reports list all that is there (label files), so that what they do not name is absent.
        seed: of every choice.
    """

    style: Style = "pope"
    negatives: Negatives = "random"
    per_image: int = 3
    closed_world: bool = False
    seed: int = 0


@dataclass(frozen=True)
class _Read:
    case: Case
    facts: Sequence[Fact]
    truth: Settled


def run(records: Iterable[Case], settings: Settings, lexicon: Lexicon, context: Context) -> Iterator[Case]:
    """Make the probes of all reports, in order; each pair is one question of each truth.

    Args:
        records: cases; those that are no reports are passed over.
        settings: how.
        lexicon: the clinical words.
        context: reject sink. Codes: ``reference-missing``, ``several-groups``.

    Yields:
        Closed cases with ``ext.probe``: two for each pair, the true one first.
    """
    context.progress.start("probes")
    reports = list(_reports(records, lexicon, context))
    counts = _Counts(reports, settings)
    without = Counter[str]()
    for report in reports:
        probes = counts.probes(report, lexicon)
        if not probes:
            without["names no finding that is there" if not report.truth.present else "rules nothing out"] += 1
        for probe in probes:
            yield from _cases(report.case, probe, settings, lexicon)
        context.progress.advance()
    for why, count in sorted(without.items()):
        context.progress.note(f"{count} reports without a probe: the reference {why}")


def _reports(records: Iterable[Case], lexicon: Lexicon, context: Context) -> Iterator[_Read]:
    groups: dict[str, str | None] = {}
    passed = 0
    for case in records:
        if case.task != "report":
            passed += 1
            continue
        path = case.images[0].path
        if not (case.reference or "").strip():
            context.reject(case.id, RecordError("reference-missing", "no report to take facts from", "$.reference"))
        elif groups.setdefault(path, case.group) != case.group:
            context.reject(case.id, RecordError("several-groups", "an earlier record has this image in another group"))
        else:
            facts = extract(case.reference or "", lexicon)
            yield _Read(case, facts, settled(case.reference or "", facts, lexicon))
    if passed:
        context.progress.note(f"{passed} cases are no reports: passed over")


class _Counts:
    """How often findings occur, alone and together, over all reports; and the choice of what is absent."""

    def __init__(self, reports: Sequence[_Read], settings: Settings) -> None:
        self._settings = settings
        self._draw = Draw("probes", settings.seed)
        self._alone = Counter(finding for report in reports for finding in report.truth.present)
        both = (product(report.truth.present, repeat=2) for report in reports)
        self._together = Counter(pair for pairs in both for pair in pairs)
        self._vocabulary = {finding for report in reports for finding in report.truth.named}

    def probes(self, report: _Read, lexicon: Lexicon) -> list[Probe]:
        """The pairs of one report: findings, then attributes of each that is there."""
        truth, identifier = report.truth, report.case.id
        absent = set(truth.absent)
        if self._settings.closed_world:
            absent |= self._vocabulary - truth.named
        made: list[Probe] = []
        for finding in self._asked(truth.present, identifier):
            other = min(absent, key=lambda one: self._rank(finding, one, identifier), default=None)
            if other is not None:
                absent.remove(other)
                made.append(existence(finding, other, lexicon))
        if self._settings.style == "probmed":
            draw = Draw("probes", self._settings.seed, identifier)
            made += [one for finding in truth.present for one in attributes(finding, report.facts, lexicon, draw)]
        return made

    def _asked(self, present: Sequence[str], identifier: str) -> list[str]:
        """Which of the findings that are there are asked about, in the order of the report."""
        drawn = sorted(present, key=lambda finding: self._draw.number(identifier, finding))
        chosen = set(drawn[: self._settings.per_image or None])
        return [finding for finding in present if finding in chosen]

    def _rank(self, finding: str, other: str, identifier: str) -> tuple[int, int, int]:
        """Order of absent findings; the lowest is asked about. Equal ones are drawn by seed."""
        together = self._together[finding, other] if self._settings.negatives == "adversarial" else 0
        often = self._alone[other] if self._settings.negatives != "random" else 0
        return -together, -often, self._draw.number(identifier, finding, other)


def _cases(report: Case, probe: Probe, settings: Settings, lexicon: Lexicon) -> Iterator[Case]:
    """Both halves of a pair. The true one keeps the finding's regions and twin; the other has nothing to show."""
    image = report.images[0].path
    name = report.id if len(report.id) <= _LONGEST else short_hash(report.id)
    ext: dict[str, Any] = {key: value for key, value in (report.ext or {}).items() if key == "organ"}
    for adversarial, prompt in ((False, probe.true), (True, probe.adversarial)):
        about = {"pair": f"{name}/{probe.kind}/{probe.finding}", "image": short_hash(image), "adversarial": adversarial}
        about |= {"negatives": settings.negatives} if probe.kind == "finding" else {}
        regions = [region for region in report.regions or [] if finding_of(region.label, lexicon) == probe.finding]
        twins = (report.ext or {}).get("twins")
        twin = {probe.finding: twins[probe.finding]} if isinstance(twins, dict) and probe.finding in twins else None
        shown = not adversarial
        yield msgspec.structs.replace(
            Case(id=report.id, image=report.image, prompt=prompt, task="vqa-closed"),
            id=f"{name}#{probe.kind}-{probe.finding}-{'no' if adversarial else 'yes'}",
            reference="No" if adversarial else "Yes",
            group=report.group or short_hash(image),
            regions=regions if shown and regions else None,
            ext={**ext, "kind": probe.kind, "probe": about, **({"twins": twin} if shown and twin else {})},
        )
