"""``medpo eval --compare``: two runs, or two groups of runs over seeds, on the same items."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.metric_measures import check_definitions
from medpo_cli.evaluation.profiles import TAGS
from medpo_cli.evaluation.summaries import Runs, summarise_runs
from medpo_cli.evaluation.verdicts import check_judges, judged
from medpo_cli.schema.records import Record, Score, Summary


def read_run(records: Iterable[Record], name: str) -> list[Score]:
    """The scores of one file of ``medpo eval``, checked.

    Several models cannot stand in one file: the summaries beside the scores tell.

    Raises:
        BadInputError: the file holds summaries of several models, or scores that ``one_arm`` refuses.
    """
    scores, models = [], set()
    for record in records:
        if isinstance(record, Score):
            scores.append(record)
        elif isinstance(record, Summary):
            models.add((record.versions.get("model"), record.versions.get("adapter"), record.versions.get("lexicon")))
    if len(models) > 1:
        raise BadInputError(f"{name} mixes runs of several models or lexicons: give one file for each")
    return one_arm(scores, name)


def compare(
    a: Mapping[str, Sequence[Score]],
    b: Mapping[str, Sequence[Score]],
    *,
    names: tuple[str, str] = ("A", "B"),
    resamples: int = 10000,
    seed: int = 0,
    versions: dict[str, str] | None = None,
    declared: Collection[str] = (),
) -> list[Summary]:
    """Compare two arms on the same items: summaries of A, of B, and of B against A.

    Args:
        a: runs of the first arm by a name for messages (the file); several differ in the training seed.
        b: runs of the second arm.
        names: of the arms.
        resamples: bootstrap draws.
        seed: of the bootstrap.
        versions: what made the summaries.
        declared: measures whose p is adjusted (Holm).

    Raises:
        BadInputError: an id occurs twice or in one run only, profiles are mixed, a run is empty or
            holds several arms of which none is ``aligned``, or runs were scored against different references.
    """
    ordered = matched(a, b)
    arms: dict[str, Runs] = {names[0]: ordered[: len(a)], names[1]: ordered[len(a) :]}
    made = summarise_runs(arms, resamples=resamples, seed=seed, versions=versions or {}, declared=declared)
    graders = {name: judged([score for run in runs for score in run]) for name, runs in arms.items()}
    return [one if one.against else msgspec.structs.replace(one, judge=graders[str(one.arm)]) for one in made]


def matched(a: Mapping[str, Sequence[Score]], b: Mapping[str, Sequence[Score]]) -> list[list[Score]]:
    """The runs of A, then those of B, all in the order of the first; raises BadInputError as ``compare``."""
    runs = [(name, one_arm(scores, name)) for side in (a, b) for name, scores in side.items()]
    (first_name, first), *others = runs
    check_judges(dict(runs))
    check_definitions(dict(runs))
    return [first] + [_matched(first, first_name, scores, name) for name, scores in others]


def one_arm(scores: Sequence[Score], name: str) -> list[Score]:
    """The scores of a run's own arm, checked; ``aligned`` where its baseline stands beside it.

    Raises:
        BadInputError: see ``compare``.
    """
    if not scores:
        raise BadInputError(f"{name} holds no score record")
    if len({score.profile for score in scores}) > 1 or scores[0].profile not in TAGS:
        raise BadInputError(f"{name} mixes profiles or has one that this version does not know")
    arms = {score.arm for score in scores}
    if len(arms) > 1 and "aligned" not in arms:
        raise BadInputError(f"{name} holds several arms and none is called aligned")
    chosen = [score for score in scores if len(arms) == 1 or score.arm == "aligned"]
    if len({score.id for score in chosen}) != len(chosen):
        raise BadInputError(f"{name} holds an id twice")
    if not all(math.isfinite(value) for score in chosen for value in score.metrics.values()):
        raise BadInputError(f"{name} holds a metric that is not a finite number")
    return chosen


def _matched(first: Sequence[Score], first_name: str, scores: Sequence[Score], name: str) -> list[Score]:
    """A run in the order of the first one; both must hold the same items with the same truth."""
    if first[0].profile != scores[0].profile:
        raise BadInputError(f"{first_name} and {name} were scored under different profiles: score both under one")
    ours, theirs = {score.id: score for score in first}, {score.id: score for score in scores}
    if ours.keys() != theirs.keys():
        only = (len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys()))
        raise BadInputError(f"ids in one run only: {only[0]} in {first_name}, {only[1]} in {name}")
    for number, key in enumerate(ours):
        if not _same_truth(ours[key], theirs[key]):
            raise BadInputError(
                f"item {number + 1} (id {key}) was scored against different references in {first_name} and {name}"
            )
    return [theirs[key] for key in ours]


_TRUTH = ("report.items", "report.present", "closed.items", "closed.true_yes", "open.items", "pair.items")


def _same_truth(a: Score, b: Score) -> bool:
    """Whether two scores of one id count against the same truth."""
    return a.group == b.group and all(a.metrics.get(key) == b.metrics.get(key) for key in _TRUTH)
