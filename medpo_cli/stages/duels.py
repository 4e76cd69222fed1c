"""Which of two runs a judge prefers: the two answers to each case in both orders, under the fairest wording."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.fairness import consistent_share, fairest, fairness, first_share
from medpo_cli.evaluation.items import KINDS
from medpo_cli.evaluation.verdicts import KINDS as JUDGED
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, Judged, Score, Wording
from medpo_cli.stages.judge import Heard, Judge
from medpo_cli.stages.propose import ahead
from medpo_cli.text.judging import PAIR, Preference, ask_pair, read_pair, tag

Orders = tuple[bool | None, bool | None]
"""Whether the first answer was preferred: A before B, and B before A; None where no reply was usable."""
_TRUSTED = 0.5  # of pairs of which both orders must name one answer, or the run is warned about its judge


@dataclass
class Duel:
    """The answers of two runs to one case, and what a judge said of them by wording, A before B and B before A."""

    case: Case
    a: Score
    b: Score
    heard: dict[str, tuple[Heard[Preference], Heard[Preference]]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Prefix of the task's measures."""
        return KINDS[self.case.task]

    @property
    def equal(self) -> bool:
        """Whether both texts are one: there is nothing to ask."""
        return self.a.answer == self.b.answer

    def orders(self, wording: str) -> Orders:
        """What was said under a wording."""
        one, other = (None if heard.value is None else heard.value.better == "first" for heard in self.heard[wording])
        return one, other

    def counts(self, wording: str) -> tuple[dict[str, float], dict[str, float]]:
        """Counts of A and of B: preferred only where both orders say so; none where a reply is missing."""
        # Equal texts are a pair without preference, as if the first had been named both times.
        ab, ba = (True, True) if self.equal else self.orders(wording)
        if ab is None or ba is None:
            return {}, {}
        preferred = f"{self.kind}.judge_preferred"
        pairs = {f"{self.kind}.judge_pairs": 1.0}
        return pairs | {preferred: float(ab and not ba)}, pairs | {preferred: float(ba and not ab)}


def paired(first: Sequence[Score], second: Sequence[Score], cases: Mapping[str, Case], name: str) -> list[Duel]:
    """The reports and open answers of two runs, which hold the same items in the same order, side by side.

    Args:
        first: run A.
        second: run B.
        cases: by id.
        name: of the file of cases, for messages.

    Raises:
        BadInputError: an item without case or reference, or a score without its answer.
    """
    judged = [(a, b) for a, b in zip(first, second, strict=True) if a.task and KINDS[a.task] in JUDGED]
    lost = sum(a.id not in cases or cases[a.id].task != a.task or not cases[a.id].reference for a, _ in judged)
    if lost:
        raise BadInputError(f"{lost} items of the runs have no case of their task with a reference in {name}")
    silent = sum(a.answer is None or b.answer is None for a, b in judged)
    if silent:
        raise BadInputError(f"{silent} scores hold no answer (several of one case are averaged): nothing to judge")
    return [Duel(cases[a.id], a, b) for a, b in judged]


class Contest:
    """All duels of two runs before one judge.

    Args:
        duels: see ``paired``.
        judge: who decides.
        config: ``judge_fairness``, ``jobs``, ``seed``.
        context: progress.
    """

    def __init__(self, duels: Sequence[Duel], judge: Judge, config: EvalConfig, context: Context) -> None:
        self._duels, self._judge, self._config, self._context = duels, judge, config, context
        self._asked = [duel for duel in duels if not duel.equal]
        self._wordings: list[Wording] | None = None
        self._wording = next(iter(PAIR))

    def scores(self) -> Iterator[Score]:
        """Choose the wording, then ask about every item; one score per item with what was said.

        Raises:
            UnavailableError: no usable server. TryLaterError: the time is over.
        """
        if self._asked and self._config.judge_fairness:
            self._choose()
        self._context.progress.start("judge", len(self._duels))
        for (duel,) in self._consulted([(duel, self._wording) for duel in self._duels]):
            yield self._score(duel)
            self._context.progress.advance()
        self._say()

    def counted(self, scores: Sequence[Score], side: int) -> list[Score]:
        """The scores of run A (side 0) or B (1) with how often they were preferred."""
        found = {duel.a.id: duel.counts(self._wording)[side] for duel in self._duels}
        return [msgspec.structs.replace(one, metrics=one.metrics | found.get(one.id, {})) for one in scores]

    @property
    def judged(self) -> Judged:
        """What the summary of the difference says of the judge."""
        heard = [one for duel in self._asked for one in duel.heard[self._wording]]
        reasons: dict[str, int] = {}
        for one in heard:
            if one.value is None:
                reasons[one.reason] = reasons.get(one.reason, 0) + 1
        orders = [duel.orders(self._wording) for duel in self._asked]
        return Judged(
            mode="pair",
            model=self._judge.model,
            reported=next((one.reported for one in heard if one.reported), None),
            prompt=tag(PAIR[self._wording]),
            prompt_text=PAIR[self._wording],
            asked=len(heard),
            unparsed=sum(reasons.values()),
            reasons=dict(sorted(reasons.items())),
            same=len(self._duels) - len(self._asked),
            consistent=consistent_share(orders),
            first=first_share(orders),
            wordings=self._wordings,
        )

    def _choose(self) -> None:
        """Try every wording on the same drawn items and take the fairest."""
        count = min(self._config.judge_fairness, len(self._asked))
        drawn = np.random.default_rng(self._config.seed).choice(len(self._asked), count, replace=False)
        items = [self._asked[place] for place in sorted(drawn.tolist())]
        self._context.progress.start("judge: wordings", len(PAIR) * count)
        for _ in self._consulted([(duel, wording) for wording in PAIR for duel in items]):
            self._context.progress.advance()
        tried = {wording: [duel.orders(wording) for duel in items] for wording in PAIR}
        self._wording = list(PAIR)[fairest(list(tried.values()))]
        self._wordings = [
            Wording(
                name=wording,
                prompt=tag(PAIR[wording]),
                asked=2 * count,
                unparsed=sum(reply is None for replies in orders for reply in replies),
                first=first_share(orders),
                fairness=fairness(orders),
                chosen=wording == self._wording,
            )
            for wording, orders in tried.items()
        ]

    def _consulted(self, questions: Sequence[tuple[Duel, str]]) -> Iterator[list[Duel]]:
        """The duels in order, each asked about under its wording, where it was not yet."""

        def consult(question: tuple[Duel, str]) -> None:
            duel, wording = question
            if not duel.equal and wording not in duel.heard:
                duel.heard[wording] = self._hear(duel, wording)

        for ((duel, _),) in ahead(([question] for question in questions), consult, self._config.jobs):
            yield [duel]

    def _hear(self, duel: Duel, wording: str) -> tuple[Heard[Preference], Heard[Preference]]:
        case, a, b = duel.case, duel.a.answer or "", duel.b.answer or ""
        ab, ba = (
            self._judge.hear(ask_pair(wording, case.prompt, case.reference or "", one, other), read_pair)
            for one, other in ((a, b), (b, a))
        )
        return ab, ba

    def _score(self, duel: Duel) -> Score:
        a, b = duel.counts(self._wording)
        metrics = {name: value for name, value in a.items() if name.endswith("judge_pairs")}
        for side, counts in (("a", a), ("b", b)):
            metrics |= {f"{name}_{side}": value for name, value in counts.items() if name.endswith("judge_preferred")}
        told: dict[str, Any] = {"model": self._judge.model, "prompt": tag(PAIR[self._wording])}
        heard = () if duel.equal else duel.heard[self._wording]
        told["orders"] = [one.reason if one.value is None else one.value.better for one in heard]
        return Score(
            id=duel.a.id,
            group=duel.a.group,
            task=duel.a.task,
            arm="judge",
            metrics=metrics,
            profile=duel.a.profile,
            ext={"judge": told},
        )

    def _say(self) -> None:
        found = self.judged
        if found.unparsed:
            why = ", ".join(f"{code}: {count}" for code, count in found.reasons.items())
            self._context.progress.warn(f"judge: no verdict in {found.unparsed} of {found.asked} replies ({why})")
        if found.consistent is None or found.first is None:
            return
        text = (
            f"judge: {found.consistent:.0%} of {len(self._asked)} pairs get one answer in both orders, "
            f"{found.first:.0%} of replies prefer the first ({found.prompt})"
        )
        if found.consistent < _TRUSTED:
            self._context.progress.warn(f"{text}: it follows the place, not the answers")
        else:
            self._context.progress.note(text)
