"""Asking the arms: what each says to a case on the intact, the destroyed, the control and the twin image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.answers import stance
from medpo_cli.evaluation.arms import Arms, Question, Stated, View
from medpo_cli.evaluation.grounding import (
    asserted,
    blind_counts,
    preference_counts,
    probability_counts,
    slug,
    span_counts,
)
from medpo_cli.evaluation.items import about_of, answer_counts, flip_counts, kind_of, make_score, with_drift
from medpo_cli.evaluation.profiles import Profile
from medpo_cli.schema.records import Case, Corrupted, ImageRef, Pair, Score
from medpo_cli.text.answers import commitment
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import Lexicon

LoadView = Callable[[ImageRef, str], View]


@dataclass
class Asked:
    """One case with a question per image that it is asked about, all encoded."""

    case: Case
    clean: Question
    lesion: Question | None = None
    control: Question | None = None
    twins: dict[str, Question] = field(default_factory=dict)
    blind: dict[str, Question] = field(default_factory=dict)


def prepare(case: Case, arms: Arms, load: LoadView, *, grounding: bool) -> Asked:
    """Load and encode every image of a case.

    Regions lie on the first image, so corruption and twins replace that one. An image that was
    destroyed by a fallback, not in its lesion, says nothing about the lesion and is left out; so is one that was
    destroyed where the policy itself pointed.

    Raises:
        RecordError: an image or an answer cannot be used, or a twin is not a path.
    """
    several = isinstance(case.image, list)
    views = [load(ref, f"$.image[{k}]" if several else "$.image") for k, ref in enumerate(case.images)]
    asked = Asked(case, arms.question(case.prompt, views))
    if isinstance(case, Pair):
        arms.check(case.chosen)
        arms.check(case.rejected)
    if not grounding:
        return asked

    def instead(ref: ImageRef, path: str) -> Question:
        return arms.question(case.prompt, [load(ref, path), *views[1:]])

    if case.corrupted is not None and on_lesion(case.corrupted) and not circular(case):
        asked.lesion = instead(case.corrupted.image, "$.corrupted.image")
        if case.control is not None:
            asked.control = instead(case.control.image, "$.control.image")
    # Numbered in messages: the keys of ext are the user's words.
    for number, (finding, ref) in enumerate(twins(case).items()):
        asked.twins[finding] = instead(ref, f"$.ext.twins[{number}]")
    return asked


def on_lesion(corrupted: Corrupted) -> bool:
    """Whether the lesion itself was destroyed."""
    return corrupted.route == "lesion"


def circular(case: Case) -> bool:
    """Whether a region of the case is one that the policy pointed at."""
    return any(region.circular for region in case.regions or [])


def twins(case: Case) -> dict[str, ImageRef]:
    """Images of ``ext.twins`` by finding, seen like the case's own image."""
    paths = (case.ext or {}).get("twins", {})
    if not isinstance(paths, dict) or not all(isinstance(path, str) and path for path in paths.values()):
        raise RecordError("twins-malformed", "twins must be an object of paths by finding", "$.ext.twins")
    first = case.images[0]
    return {name: msgspec.structs.replace(first, path=path, sha256=None) for name, path in paths.items()}


def score_cases(asked: Sequence[Asked], arms: Arms, lexicon: Lexicon, profile: Profile) -> list[list[Score]]:
    """For each case one score per arm, in the order of ``arms.names``."""
    scores: list[list[Score]] = [[] for _ in asked]
    for arm in arms.names if asked else ():
        answers = arms.answers(arm, [item.clean for item in asked])
        others = _changed_answers(arm, asked, answers, arms, lexicon)
        likely = _likely(arm, asked, arms, lexicon)
        blind = _blind_counts(arm, asked, answers, arms, lexicon, profile)
        for k, item in enumerate(asked):
            counts, ext = answer_counts(item.case, answers[k], lexicon, profile)
            counts |= flip_counts(item.case, answers[k], *others[k], lexicon)
            if k in likely:
                counts, ext = counts | likely[k][0], ext | likely[k][1]
            counts |= blind[k]
            score = make_score(item.case, arm, counts, profile, answer=answers[k], ext=ext)
            scores[k].append(with_drift(score, scores[k][0]) if scores[k] else score)
    return scores


def without_picture(asked: Asked, views: Sequence[View], other: View | None, arms: Arms) -> None:
    """Also ask with every picture black, and with ``other`` (of a case of another group) as the first one."""
    asked.blind["blank"] = arms.question(asked.case.prompt, [np.zeros_like(view) for view in views])
    if other is not None:
        asked.blind["swapped"] = arms.question(asked.case.prompt, [other, *views[1:]])


def _blind_counts(
    arm: str, asked: Sequence[Asked], answers: Sequence[str], arms: Arms, lexicon: Lexicon, profile: Profile
) -> list[dict[str, float]]:
    """How often answers without the right picture are right, and how often they are others than with it."""
    places = [(k, name, question) for k, item in enumerate(asked) for name, question in item.blind.items()]
    counts: list[dict[str, float]] = [{} for _ in asked]
    said = arms.answers(arm, [question for _, _, question in places]) if places else []
    for (k, name, _), answer in zip(places, said, strict=True):
        case = asked[k].case
        found, _ = answer_counts(case, answer, lexicon, profile)
        counts[k] |= blind_counts(kind_of(case), name, found, changed=stance(answer) != stance(answers[k]))
    return counts


Likely = tuple[dict[str, float], dict[str, object]]


def _likely(arm: str, asked: Sequence[Asked], arms: Arms, lexicon: Lexicon) -> dict[int, Likely]:
    """Of each yes/no question its probability counts, and its log-odds of yes by image for the score's ``ext``.

    The destroyed and the twin image count where they lack the very finding that is asked about.
    """
    questions: list[Question] = []
    places: list[tuple[int, str]] = []
    about: dict[int, tuple[str, str]] = {}
    for k, item in enumerate(asked):
        truth = commitment(item.case.reference or "")
        if item.case.task != "vqa-closed" or truth is None:
            continue
        finding = _asked_about(item.case, lexicon)
        about[k] = finding, truth
        there = truth == "yes" and finding
        destroyed = there and finding in {slug(region.label) for region in item.case.regions or []}
        images = {"intact": item.clean, "lesion": item.lesion if destroyed else None}
        for name, question in (images | {"twin": item.twins.get(finding) if there else None}).items():
            if question is not None:
                questions.append(question)
                places.append((k, name))
    found = arms.yes_no(arm, questions) if questions else None
    likely: dict[int, Likely] = {}
    for (k, name), (yes, no) in zip(places, found or [], strict=found is not None):
        finding, right = about[k]
        if name == "intact":
            likely[k] = probability_counts(yes, no, right == "yes"), {}
            if finding:
                likely[k][1]["odds"] = {"finding": finding, "truth": right}
        if finding:
            odds = likely[k][1]["odds"]
            likely[k] = likely[k][0], {"odds": {**odds, name: round(yes - no, 3)}}  # type: ignore[dict-item]
    return likely


def _asked_about(case: Case, lexicon: Lexicon) -> str:
    """The one finding that the question is about; empty if it names none or several.

    A probe about an attribute ("Is the nodule on the right?") does not ask whether the finding is there.
    """
    if "probe" in (case.ext or {}) and about_of(case).get("kind", "finding") != "finding":
        return ""
    found = {fact.finding for fact in extract(case.prompt, lexicon, question=True)}
    return found.pop() if len(found) == 1 else ""


Changed = tuple[str | None, str | None, dict[str, str]]


def _changed_answers(
    arm: str, asked: Sequence[Asked], answers: Sequence[str], arms: Arms, lexicon: Lexicon
) -> list[Changed]:
    """Answers on destroyed, control and twin images, asked in one go."""
    questions: list[Question] = []
    places: list[tuple[int, str]] = []
    for k, item in enumerate(asked):
        told = asserted(extract(answers[k], lexicon)) if item.case.task == "report" else frozenset(item.twins)
        wanted = {"lesion": item.lesion, "control": item.control}
        wanted |= {f"twin {finding}": twin for finding, twin in item.twins.items() if finding in told}
        for name, question in wanted.items():
            if question is not None:
                questions.append(question)
                places.append((k, name))
    found: list[dict[str, str]] = [{} for _ in asked]
    for (k, name), answer in zip(places, arms.answers(arm, questions) if questions else [], strict=True):
        found[k][name] = answer
    return [
        (said.get("lesion"), said.get("control"), {name[5:]: said[name] for name in said if name.startswith("twin ")})
        for said in found
    ]


def score_pairs(asked: Sequence[Asked], arms: Arms, profile: Profile) -> list[list[Score]]:
    """For each pair one score per arm: which side is more likely, and whether the lesion decides."""
    scores: list[list[Score]] = [[] for _ in asked]
    pairs = [item.case for item in asked]
    for arm in arms.names if asked else ():
        questions = [(item.clean, item.lesion, item.control) for item in asked]
        flat = [(k, n, q) for k, row in enumerate(questions) for n, q in enumerate(row) if q is not None]
        sides = [stated for k, _, q in flat for stated in _sides(pairs[k], q)]
        found = arms.logprobs(arm, sides)
        margins: list[list[float | None]] = [[None] * 3 for _ in asked]
        edited: list[list[float | None]] = [[None] * 3 for _ in asked]
        for place, (k, n, _) in enumerate(flat):
            chosen, rejected = found[2 * place : 2 * place + 2]
            margins[k][n] = chosen.total - rejected.total
            edited[k][n] = chosen.span if chosen.tokens else None
        for k, (clean, lesion, control) in enumerate(margins):
            counts = preference_counts(clean or 0.0, lesion, control)
            if edited[k][0] is not None:
                counts |= span_counts(edited[k][0] or 0.0, edited[k][1], edited[k][2])
            scores[k].append(make_score(pairs[k], arm, counts, profile))
    return scores


def _sides(case: Case, question: Question) -> tuple[Stated, Stated]:
    if not isinstance(case, Pair):
        raise TypeError("not a pair")
    spans = [span.chosen for span in case.spans]
    return Stated(question, case.chosen, spans), Stated(question, case.rejected)
